//! One delivery, from the queue to its acknowledgement.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use celery_protocol::{
    ExceptionInfo, Limits, Rejection, ResultMeta, Signature, TaskRequest, WireTime,
    canvas::{CanvasError, Plan, Sender},
    python,
    task::TaskIdentity,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Registered, Shared,
    handler::Ran,
    hold::{Held, LOOK, Lane, in_line},
    outcomes::{RunId, Running},
    registry::{TaskEvent, TaskEventKind, Tracked},
    retry,
    settle::{Again, Final, Outcome, give_back, log_unsettled},
};
use crate::{TaskError, Unanswered, broker::Delivery, clock};

/// The longest `repr` of a result in an event, in bytes.
const LONGEST_REPR: usize = 1024;

/// A delivery and what is to be done with it.
pub(super) struct Execution {
    shared: Arc<Shared>,
    delivery: Arc<Delivery>,
    work: Work,
    stopping: CancellationToken,
    cancelled: CancellationToken,
}

enum Work {
    /// Not a task at all.
    Refuse(Box<Rejection>),
    Run(Arc<TaskRequest>, Tracked, Option<Lane>),
}

/// What to do with the delivery.
enum Verdict {
    Settle(Outcome),
    /// It was published again for later: acknowledge.
    Later,
    /// The handler refused it: nobody is told, and it goes back to its queue if it says so.
    Rejected(TaskError, bool),
    /// Nothing was done, or not to the end: it is delivered again once the channel closes.
    Left,
}

impl From<Final> for Verdict {
    fn from(over: Final) -> Self {
        Self::Settle(Outcome::Final(Box::new(over)))
    }
}

impl Execution {
    /// Reads the task and puts it in line, so that exclusive tasks run in the order they came.
    pub async fn new(
        shared: Arc<Shared>,
        delivery: Arc<Delivery>,
        stopping: CancellationToken,
        cancelled: CancellationToken,
    ) -> Self {
        let work = match TaskRequest::decode(&delivery.message, &Limits::default()) {
            Err(rejection) => Work::Refuse(rejection),
            Ok(task) => {
                let lane = match task.headers.eta {
                    None => in_line(&shared, &task).await,
                    // Its turn comes when its time does.
                    Some(_) => None,
                };
                let task = Arc::new(task);
                let tracked = shared.registry.receive(task.clone(), &delivery);
                Work::Run(task, tracked, lane)
            }
        };
        Self { shared, delivery, work, stopping, cancelled }
    }

    pub async fn run(self) {
        let Self { shared, delivery, work, stopping, cancelled } = self;
        match work {
            Work::Refuse(rejection) => refuse(&shared, &delivery, &rejection, &stopping).await,
            Work::Run(task, tracked, lane) => {
                let mut identity = task.identity();
                if identity.ignore_result.is_none() {
                    identity.ignore_result = shared.tasks.get(task.name()).map(|known| known.options.ignore_result);
                }
                let one = One {
                    shared: &shared,
                    delivery: &delivery,
                    task: &task,
                    tracked: &tracked,
                    identity,
                    stopping: &stopping,
                    cancelled: &cancelled,
                };
                one.event(TaskEventKind::Received);
                let mut running = None;
                match one.verdict(lane, &mut running).await {
                    Verdict::Settle(outcome) => one.settle(outcome).await,
                    Verdict::Rejected(reason, requeue) => one.reject(&reason, requeue).await,
                    Verdict::Later => log_unsettled(&shared, delivery.ack().await),
                    Verdict::Left => {}
                }
            }
        }
    }
}

/// Refuses a message that is not a task, telling whoever sent it if it says who that is.
async fn refuse(shared: &Shared, delivery: &Delivery, rejection: &Rejection, stopping: &CancellationToken) {
    tracing::warn!(worker = shared.name, task.id = rejection.identity.id, error = %rejection.error, "refused a message that cannot be read as a task");
    if let Some(failure) = rejection.failure(clock::now())
        && let Err(error) = shared.backend.store(&rejection.identity, failure).await
        && error.is_temporary()
    {
        return give_back(shared, delivery, &error, stopping).await;
    }
    shared.counters.rejected.fetch_add(1, Relaxed);
    if let Some(id) = rejection.identity.id.clone() {
        let kind = TaskEventKind::Rejected { requeue: false };
        shared.registry.event(|| TaskEvent { id, task: None, at: clock::now(), kind });
    }
    log_unsettled(shared, delivery.reject(false).await);
}

/// One task in hand.
pub(super) struct One<'a> {
    pub shared: &'a Arc<Shared>,
    pub delivery: &'a Arc<Delivery>,
    pub task: &'a Arc<TaskRequest>,
    pub tracked: &'a Tracked,
    /// Whom its result concerns, the task's own settings taken into account.
    pub identity: TaskIdentity,
    pub stopping: &'a CancellationToken,
    pub cancelled: &'a CancellationToken,
}

impl<'a> One<'a> {
    pub(super) fn run_id(&self) -> RunId {
        (self.task.id().to_owned(), self.task.headers.retries)
    }

    async fn verdict(&self, lane: Option<Lane>, running: &mut Option<Running<'a>>) -> Verdict {
        let Some(registered) = self.shared.tasks.get(self.task.name()) else {
            tracing::warn!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                "refused an unknown task"
            );
            return self.refused(&ExceptionInfo::not_registered(self.task.name()));
        };
        if let Some(reason) = self.cannot_be_continued() {
            tracing::warn!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                reason,
                "refused a task"
            );
            return self.refused(&ExceptionInfo::builtin("NotImplementedError", format!("{reason}; it was not run")));
        }
        if !(self.delivery.redelivered || self.task.is_restored()) {
            self.shared.outcomes.forget(&self.run_id());
        } else if let Some(known) = self.known_outcome(running).await {
            return known;
        }
        if let Some(eta) = self.task.headers.eta.as_ref().map(WireTime::timestamp)
            && let Some(verdict) = held(self.until_due(eta).await)
        {
            return verdict;
        }
        self.tracked.waits_its_turn();
        let lane = match lane {
            Some(lane) => Some(lane),
            None => in_line(self.shared, self.task).await,
        };
        let _turn = match lane {
            None => None,
            Some(lane) => match self.turn(lane).await {
                Some(permit) => permit.ok(),
                None => return Verdict::Left,
            },
        };
        if let Some(bucket) = self.shared.registry.bucket(self.task.name())
            && let Some(verdict) = held(self.until_rate_allows(&bucket).await)
        {
            return verdict;
        }
        // Looked at last, because the wait may have been long.
        if let Some(reason) = self.is_over() {
            tracing::info!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                reason,
                "a task was not run"
            );
            return self.revoked(reason).into();
        }
        if self.stopping.is_cancelled() {
            return Verdict::Left;
        }
        // A second copy may have been delivered on a new channel while this one waited.
        if self.delivery.is_stale() {
            tracing::debug!(task.id = self.task.id(), "left a task whose connection has ended to its redelivery");
            return Verdict::Left;
        }
        *running = Some(self.shared.outcomes.begin(self.run_id(), self.delivery.clone()));
        if registered.options.track_started.unwrap_or(self.shared.track_started) {
            self.progress(ResultMeta::started(self.task.id(), std::process::id(), &self.shared.name)).await;
        }
        self.event(TaskEventKind::Started);
        match self.execute(registered).await {
            Ran::Returned(Ok(value), runtime) => self.succeeded(value, runtime),
            Ran::Returned(Err(error), _) => self.ended(registered, error),
            Ran::HardLimit(limit) => {
                self.shared.counters.failed.fetch_add(1, Relaxed);
                self.failed(&ExceptionInfo::time_limit_exceeded(limit), None).into()
            }
            Ran::Terminated => {
                tracing::info!(
                    worker = self.shared.name,
                    task.id = self.task.id(),
                    task = self.task.name(),
                    "task terminated"
                );
                self.shared.counters.revoked.fetch_add(1, Relaxed);
                self.revoked("terminated").into()
            }
            Ran::Stopped => {
                self.event(TaskEventKind::Cancelled);
                Verdict::Left
            }
        }
    }

    fn refused(&self, exception: &ExceptionInfo) -> Verdict {
        Final { refused: true, ..self.failed(exception, None) }.into()
    }

    /// Why what follows this task could not be sent, which is looked at before it runs.
    fn cannot_be_continued(&self) -> Option<String> {
        let embed = &self.task.embed;
        let follows = |list: &Option<Vec<Signature>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if !(follows(&embed.callbacks) || follows(&embed.chain) || follows(&embed.errbacks) || embed.chord.is_some()) {
            return None;
        }
        if !self.shared.backend.supports_chords() {
            let next = embed.chain.iter().flatten().last();
            let chord = embed.callbacks.iter().flatten().chain(next).any(Signature::has_chord);
            if chord || embed.chord.is_some() {
                return Some("chords are not supported by the result backend of this worker".to_owned());
            }
        }
        let sender = Sender::task(self.task, clock::now());
        let tried: Result<(), CanvasError> =
            sender.on_success(self.task, &Value::Null).map(drop).and_then(|()| sender.on_failure(self.task).map(drop));
        tried.err().map(|error| format!("what follows the task cannot be sent: {error}"))
    }

    /// For a task that was delivered again: what came of it here before, waiting for it if it is under way. While it is
    /// brought out once more it counts as running, so that yet another delivery waits as well.
    async fn known_outcome(&self, running: &mut Option<Running<'a>>) -> Option<Verdict> {
        let run = self.run_id();
        let mut told = false;
        while let Some(ended) = self.shared.outcomes.orphan(&run) {
            if !std::mem::replace(&mut told, true) {
                tracing::info!(
                    worker = self.shared.name,
                    task.id = self.task.id(),
                    task = self.task.name(),
                    "a task that runs was delivered again, and waits for it"
                );
            }
            tokio::select! {
                () = self.stopping.cancelled() => return Some(Verdict::Left),
                () = ended.cancelled() => {}
                // Every lost connection brings another copy: those before it go, or they would pile up.
                () = tokio::time::sleep(LOOK) => if self.delivery.is_stale() {
                    return Some(Verdict::Left);
                }
            }
        }
        // This delivery may have been lost meanwhile; then the outcome is for the next one.
        if self.delivery.is_stale() {
            return Some(Verdict::Left);
        }
        let outcome = self.shared.outcomes.take(&run)?;
        *running = Some(self.shared.outcomes.begin(run, self.delivery.clone()));
        Some(Verdict::Settle(outcome))
    }

    /// Why it is not to be run any more.
    fn is_over(&self) -> Option<&'static str> {
        if self.task.is_expired(clock::now()) {
            self.shared.counters.expired.fetch_add(1, Relaxed);
            Some("expired")
        } else if self.shared.registry.is_revoked(self.task) {
            self.shared.counters.revoked.fetch_add(1, Relaxed);
            Some("revoked")
        } else {
            None
        }
    }

    fn succeeded(&self, value: Value, runtime: std::time::Duration) -> Verdict {
        let runtime_ms = u64::try_from(runtime.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            worker = self.shared.name,
            task.id = self.task.id(),
            task = self.task.name(),
            runtime_ms,
            "task succeeded"
        );
        self.shared.counters.succeeded.fetch_add(1, Relaxed);
        let sender = Sender { origin: Some(&self.shared.origin), ..Sender::task(self.task, clock::now()) };
        let (before, children) = match sender.on_success(self.task, &value) {
            Ok(following) => following,
            // Not before it was looked at; what follows does not depend on the value.
            Err(error) => {
                let told = ExceptionInfo::builtin("RuntimeError", format!("what follows cannot be sent: {error}"));
                return self.failed(&told, None).into();
            }
        };
        let mut result = String::new();
        self.shared.registry.when_wanted(|| result = shortened(python::repr(&value)));
        let meta = self.finished(ResultMeta::success(self.task.id(), value, clock::now()));
        let meta = ResultMeta { children, ..meta };
        let event = Some(TaskEventKind::Succeeded { result, runtime });
        Final { meta, before, after: Plan::default(), refused: false, event }.into()
    }

    /// The handler returned an error: try again, or tell.
    fn ended(&self, registered: &Registered, error: TaskError) -> Verdict {
        let retries = self.task.headers.retries;
        if let Some(unanswered) = error.unanswered {
            tracing::info!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), %error, "task ends without an answer");
            return match unanswered {
                Unanswered::Ignored => Verdict::Settle(Outcome::Out),
                Unanswered::Rejected { requeue } => Verdict::Rejected(error, requeue),
            };
        }
        let wait = registered.options.retry.next(&error, retries, retry::random());
        let exception = ExceptionInfo::new(&error.exc_module, &error.exc_type, error.messages.clone());
        let over = self.failed(&exception, error.traceback.as_deref().map(str::to_owned));
        let at = wait.and_then(|wait| clock::now().checked_add(wait).ok());
        let Some(at) = at else {
            tracing::warn!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), retries, %error, "task failed");
            self.shared.counters.failed.fetch_add(1, Relaxed);
            return over.into();
        };
        tracing::info!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), retries, %error, "task is tried again");
        self.shared.counters.retried.fetch_add(1, Relaxed);
        let mut next = self.task.retried(Some(at));
        // The header says when it is too late for it; the broker would drop it without telling anybody.
        next.properties.expiration = None;
        let meta =
            self.finished(ResultMeta::retry(self.task.id(), &exception, error.traceback.as_deref().map(str::to_owned)));
        let event =
            TaskEventKind::Retried { exception: exception.repr(), traceback: error.traceback.map(String::from) };
        Verdict::Settle(Outcome::Again(Box::new(Again { next, meta, otherwise: over, event })))
    }
}

fn held(held: Held) -> Option<Verdict> {
    match held {
        Held::Due => None,
        Held::Later => Some(Verdict::Later),
        Held::Stopped | Held::Left => Some(Verdict::Left),
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_REPR {
        let end = (0..=LONGEST_REPR).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
