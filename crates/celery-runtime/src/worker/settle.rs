//! Bringing out what came of a task, in the order that makes a crash at any point harmless: what follows on success, the
//! result, the chord it is a part of, what follows on failure, and last of all the acknowledgement.

use std::{fmt::Display, sync::atomic::Ordering::Relaxed, time::Duration};

use celery_protocol::{
    ExceptionInfo, ResultMeta, State, TaskRequest,
    canvas::{Plan, Sender},
    task::TaskIdentity,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    execute::One,
    registry::{TaskEvent, TaskEventKind},
};
use crate::{
    TaskError,
    backend::{BackendError, ReadyChord},
    broker::{AckError, Delivery, Publish},
    clock,
    dispatch::{DispatchError, dispatch},
};

/// The wait before a task whose outcome could not be brought out is given back.
const RETURN_DELAY: Duration = Duration::from_secs(1);
/// How often a result is stored anew before the task is given back; the waits in between double from this on.
const STORE_TRIES: u32 = 4;
const FIRST_STORE_WAIT: Duration = Duration::from_millis(200);
/// How long a state that is not final may hold things up.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Chords whose bodies are parts of chords, at most.
const DEEPEST: u8 = 16;

/// What came of a task, to be brought out. Doing so twice does no more than doing it once.
#[derive(Clone)]
pub(super) enum Outcome {
    /// The task is over.
    Final(Box<Final>),
    /// It is tried again.
    Again(Box<Again>),
    /// All is out, but for the acknowledgement.
    Out,
}

impl Outcome {
    /// What is left to do once it was brought out.
    fn brought_out(self) -> Self {
        match self {
            Self::Final(over) => {
                let (before, after) = (Plan::default(), Plan::default());
                Self::Final(Box::new(Final { before, after, event: None, ..*over }))
            }
            Self::Again(_) | Self::Out => Self::Out,
        }
    }
}

#[derive(Clone)]
pub(super) struct Final {
    pub meta: ResultMeta,
    /// What is sent before the result is stored: what follows on success.
    pub before: Plan,
    /// What is sent after: what follows on failure.
    pub after: Plan,
    /// The message is refused instead of acknowledged.
    pub refused: bool,
    pub event: Option<TaskEventKind>,
}

#[derive(Clone)]
pub(super) struct Again {
    /// The next try.
    pub next: TaskRequest,
    pub meta: ResultMeta,
    /// What comes of it if it cannot be sent.
    pub otherwise: Final,
    pub event: TaskEventKind,
}

/// Why an outcome cannot be brought out now.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl One<'_> {
    pub(super) async fn settle(&self, outcome: Outcome) {
        let refused = matches!(&outcome, Outcome::Final(over) if over.refused);
        let brought_out = match &outcome {
            Outcome::Final(over) => self.bring_out(over).await,
            // What few tasks come to is boxed, here and below: every task in hand has room for the largest of its steps.
            Outcome::Again(again) => Box::pin(self.try_again(again)).await,
            Outcome::Out => Ok(()),
        };
        if let Err(error) = brought_out {
            self.shared.outcomes.keep(self.run_id(), outcome);
            return give_back(self.shared, self.delivery, &error, self.stopping).await;
        }
        let settled = if refused {
            self.shared.counters.rejected.fetch_add(1, Relaxed);
            self.delivery.reject(false).await
        } else {
            self.delivery.ack().await
        };
        if settled.is_err() && !refused {
            // It is delivered again, perhaps to us: then all is out, and only its result is told once more.
            self.shared.outcomes.keep(self.run_id(), outcome.brought_out());
        }
        log_unsettled(self.shared, settled);
    }

    async fn bring_out(&self, over: &Final) -> Result<(), NotNow> {
        let mut over = std::borrow::Cow::Borrowed(over);
        if let Err(error) = self.send(&over.before).await {
            if error.is_temporary() {
                return Err(error.into());
            }
            // It will never get out. The work is done and its result is not what anybody waits for any more.
            tracing::error!(worker = self.shared.name, task.id = self.task.id(), %error, "what follows a task cannot be sent");
            let told = ExceptionInfo::builtin(
                "RuntimeError",
                format!("the task ended well, but what follows it cannot be sent: {error}"),
            );
            over = std::borrow::Cow::Owned(self.failed(&told, None));
        }
        self.store(&self.identity, &over.meta).await?;
        if over.meta.state.propagates() {
            Box::pin(self.tell_the_rest(self.task, &over.meta, 0)).await?;
        }
        self.count_in_chord(self.task, &over.meta, 0).await?;
        self.send_all_that_can_be(&over.after).await?;
        if let Some(event) = over.event.clone() {
            self.event(event);
        }
        Ok(())
    }

    async fn try_again(&self, again: &Again) -> Result<(), NotNow> {
        let publish = match again.next.to_message() {
            Ok(message) => Publish {
                exchange: self.delivery.exchange.clone(),
                ..Publish::task(self.delivery.routing_key.clone(), message)
            },
            Err(error) => {
                tracing::error!(worker = self.shared.name, task.id = self.task.id(), %error, "the next try of a task cannot be written");
                return self.bring_out(&again.otherwise).await;
            }
        };
        // Told before the next try is out, which may otherwise be over first. It is not a final state, so nothing is lost if
        // this try is delivered again instead.
        self.progress(again.meta.clone()).await;
        self.event(again.event.clone());
        if let Err(error) = self.shared.broker.publish(publish).await.map_err(DispatchError::from) {
            if error.is_temporary() {
                return Err(error.into());
            }
            tracing::error!(worker = self.shared.name, task.id = self.task.id(), %error, "the next try of a task cannot be sent");
            return self.bring_out(&again.otherwise).await;
        }
        Ok(())
    }

    /// Refuses a task as its handler asked. One that goes back does so slowly: it may come again at once, and to us.
    pub(super) async fn reject(&self, reason: &TaskError, requeue: bool) {
        self.event(TaskEventKind::Rejected { requeue });
        if requeue {
            return give_back(self.shared, self.delivery, reason, self.stopping).await;
        }
        self.shared.counters.rejected.fetch_add(1, Relaxed);
        log_unsettled(self.shared, self.delivery.reject(false).await);
    }

    /// Tells a state that is not final. Best effort, and within a second.
    pub(super) async fn progress(&self, meta: ResultMeta) {
        let told = self.shared.backend.progress(&self.identity, meta);
        if tokio::time::timeout(PROGRESS_TIMEOUT, told).await.is_err() {
            tracing::debug!(task.id = self.task.id(), "a state could not be told in time");
        }
    }

    /// Stores a result, again and again for a while: the work is done, and doing it once more would cost more.
    async fn store(&self, whom: &TaskIdentity, meta: &ResultMeta) -> Result<(), BackendError> {
        let mut wait = FIRST_STORE_WAIT;
        let mut tries = 0;
        loop {
            let error = match self.shared.backend.store(whom, meta.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_temporary() => {
                    tracing::error!(worker = self.shared.name, task.id = meta.task_id, %error, "a result cannot be stored");
                    return Ok(());
                }
                Err(error) => error,
            };
            tries += 1;
            if tries >= STORE_TRIES || self.delivery.is_stale() {
                return Err(error);
            }
            tracing::debug!(worker = self.shared.name, task.id = meta.task_id, %error, "a result is stored anew");
            tokio::select! {
                () = self.stopping.cancelled() => return Err(error),
                () = tokio::time::sleep(wait) => wait *= 2,
            }
        }
    }

    /// Nothing of the chain behind a task that failed will ever run: whoever waits for its end learns why.
    async fn tell_the_rest(&self, task: &TaskRequest, meta: &ResultMeta, depth: u8) -> Result<(), NotNow> {
        for step in task.embed.chain.iter().flatten() {
            for ending in step.endings() {
                self.tell_failed(&ending, meta, depth).await?;
            }
        }
        Ok(())
    }

    /// Tells whoever waits for a task that was never sent that it ended as `meta` did.
    async fn tell_failed(&self, task: &TaskRequest, meta: &ResultMeta, depth: u8) -> Result<(), NotNow> {
        let told = ResultMeta { task_id: task.id().to_owned(), children: Vec::new(), ..meta.clone() };
        let told = told.with_lineage(task.headers.group.as_deref(), Some(self.task.id()));
        self.store(&task.identity(), &told).await?;
        self.count_in_chord(task, &told, depth).await
    }

    /// Counts a member of a chord, and brings out the chord when it was the last.
    async fn count_in_chord(&self, task: &TaskRequest, meta: &ResultMeta, depth: u8) -> Result<(), NotNow> {
        if task.embed.chord.is_none() || depth > DEEPEST {
            return Ok(());
        }
        match self.shared.backend.chord_part(task, meta).await {
            Ok(None) => Ok(()),
            // Boxed, because the body of a chord may be a part of another.
            Ok(Some(ready)) => Box::pin(self.chord_is_ready(task, ready, depth + 1)).await,
            Err(error) if error.is_temporary() => Err(error.into()),
            Err(error) => {
                tracing::error!(worker = self.shared.name, task.id = meta.task_id, %error, "a member of a chord cannot be counted");
                Ok(())
            }
        }
    }

    async fn chord_is_ready(&self, member: &TaskRequest, ready: ReadyChord, depth: u8) -> Result<(), NotNow> {
        let ReadyChord { group, body, outcome } = ready;
        // From the group alone, so that whoever brings the chord out makes the same ids.
        let sender = Sender { seed: format!("chord/{group}"), ..Sender::task(member, clock::now()) };
        let mut plan = Plan::default();
        let args = [outcome.as_ref().map_or(Value::Null, |results| Value::Array(results.clone()))];
        if let Err(error) = sender.apply(&mut plan, body, &args, "body") {
            tracing::error!(worker = self.shared.name, group, %error, "the body of a chord cannot be sent");
            return Ok(self.shared.backend.chord_done(&group).await?);
        }
        match outcome {
            Ok(_) => self.send_all_that_can_be(&plan).await?,
            Err(exception) => {
                for body in plan.tasks.into_iter().map(|out| out.task) {
                    let meta = ResultMeta::failure(body.id(), &exception, None, clock::now());
                    self.tell_failed(&body, &meta, depth).await?;
                    self.tell_the_rest(&body, &meta, depth).await?;
                    if let Ok(errbacks) = Sender::task(&body, clock::now()).on_failure(&body) {
                        self.send_all_that_can_be(&errbacks).await?;
                    }
                }
            }
        }
        // The body is out, and sending it once more because that could not be noted would have it run again.
        if let Err(error) = self.shared.backend.chord_done(&group).await {
            tracing::warn!(worker = self.shared.name, group, %error, "a chord whose body is out could not be ended");
        }
        Ok(())
    }

    async fn send(&self, plan: &Plan) -> Result<(), DispatchError> {
        if *plan == Plan::default() {
            return Ok(());
        }
        let (broker, backend) = (self.shared.broker.as_ref(), self.shared.backend.as_ref());
        Box::pin(dispatch(broker, backend, &self.shared.routes, plan.clone())).await
    }

    /// Sends what nobody can be told about if it cannot be.
    async fn send_all_that_can_be(&self, plan: &Plan) -> Result<(), DispatchError> {
        match self.send(plan).await {
            Err(error) if !error.is_temporary() => {
                tracing::error!(worker = self.shared.name, task.id = self.task.id(), %error, "what follows a task cannot be sent");
                Ok(())
            }
            other => other,
        }
    }

    /// The task is over with an exception.
    pub(super) fn failed(&self, exception: &ExceptionInfo, traceback: Option<String>) -> Final {
        let event = TaskEventKind::Failed { exception: exception.repr(), traceback: traceback.clone() };
        let meta = ResultMeta::failure(self.task.id(), exception, traceback, clock::now());
        let after = Sender::task(self.task, clock::now()).on_failure(self.task).unwrap_or_else(|error| {
            tracing::error!(worker = self.shared.name, task.id = self.task.id(), %error, "the errbacks of a task cannot be sent");
            Plan::default()
        });
        Final { meta: self.finished(meta), before: Plan::default(), after, refused: false, event: Some(event) }
    }

    /// The task is over unrun, or was stopped.
    pub(super) fn revoked(&self, reason: &str) -> Final {
        let meta = ResultMeta::revoked(self.task.id(), &ExceptionInfo::task_revoked(reason), clock::now());
        let terminated = reason == "terminated";
        let signum = terminated.then(|| "15".to_owned());
        let event = TaskEventKind::Revoked { terminated, signum, expired: reason == "expired" };
        let meta = self.finished(meta);
        Final { meta, before: Plan::default(), after: Plan::default(), refused: false, event: Some(event) }
    }

    /// A final result with what the message says about the task and, if asked for, all about it.
    pub(super) fn finished(&self, meta: ResultMeta) -> ResultMeta {
        let headers = &self.task.headers;
        let mut meta = meta.with_lineage(headers.group.as_deref(), headers.parent_id.as_deref());
        if self.shared.result_extended && meta.state != State::Retry {
            let mut put = |name: &str, value: Value| meta.extra.insert(name.to_owned(), value);
            put("name", self.task.name().into());
            put("args", self.task.args.clone().into());
            put("kwargs", self.task.kwargs.clone().into());
            put("worker", self.shared.name.as_str().into());
            put("retries", headers.retries.into());
            put("queue", self.delivery.routing_key.as_str().into());
            if let Some(names) = &headers.stamped_headers {
                put("stamped_headers", names.clone().into());
                for (name, value) in headers.stamps.iter() {
                    put(name, value.to_json());
                }
            }
        }
        meta
    }

    pub(super) fn event(&self, kind: TaskEventKind) {
        self.shared.registry.event(|| TaskEvent {
            id: self.task.id().to_owned(),
            task: Some(self.task.clone()),
            at: clock::now(),
            kind,
        });
    }
}

/// Gives a task back that cannot be dealt with now: unacknowledged, so that it is delivered again.
pub(super) async fn give_back(
    shared: &Shared,
    delivery: &Delivery,
    reason: &(dyn Display + Sync),
    stopping: &CancellationToken,
) {
    tracing::warn!(worker = shared.name, error = %reason, "a task goes back to its queue");
    shared.counters.returned.fetch_add(1, Relaxed);
    // Slowly, lest a broken reply path spins. At shutdown the closing channel gives it back.
    tokio::select! {
        () = stopping.cancelled() => return,
        () = tokio::time::sleep(RETURN_DELAY) => {}
    }
    log_unsettled(shared, delivery.reject(true).await);
}

pub(super) fn log_unsettled(shared: &Shared, outcome: Result<(), AckError>) {
    match outcome {
        Ok(()) => {}
        Err(error @ AckError::Stale { .. }) => {
            tracing::info!(worker = shared.name, %error, "not acknowledged, it will be delivered again");
        }
        Err(error) => {
            tracing::warn!(worker = shared.name, %error, "not acknowledged, it will be delivered again")
        }
    }
}
