//! One delivery, from the queue to its acknowledgement.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use celery_protocol::{ExceptionInfo, Limits, Message, Rejection, ResultMeta, TaskRequest};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Shared, TaskContext,
    results::{NotStored, store},
};
use crate::{
    Arguments, TaskError,
    broker::{AckError, Delivery, Publish},
    clock,
};

/// The longest a task with an `eta` is held before it is published again.
const HOLD: Duration = Duration::from_secs(60);
/// The wait before a task whose result could not be published is given back.
const RETURN_DELAY: Duration = Duration::from_secs(1);

type Lane = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A delivery and what is to be done with it.
pub(super) struct Execution {
    shared: Arc<Shared>,
    delivery: Delivery,
    work: Work,
    stopping: CancellationToken,
    cancelled: CancellationToken,
}

enum Work {
    /// Not a task at all.
    Refuse(Box<Rejection>),
    Run(Box<TaskRequest>, Option<Lane>),
}

/// What to tell the caller and the broker.
enum Verdict {
    /// The task is over: store, then acknowledge.
    Done(ResultMeta),
    /// The message is refused: store, then reject.
    Refused(ResultMeta),
    /// Nothing was done, or not to the end: it is delivered again once the channel closes.
    Left,
    /// It was published again for later.
    Later,
}

impl Execution {
    /// Reads the task and puts it in line, so that exclusive tasks run in the order they came.
    pub async fn new(
        shared: Arc<Shared>,
        delivery: Delivery,
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
                Work::Run(Box::new(task), lane)
            }
        };
        Self { shared, delivery, work, stopping, cancelled }
    }

    pub async fn run(self) {
        let Self { shared, delivery, work, stopping, cancelled } = self;
        match work {
            Work::Refuse(rejection) => refuse(&shared, &delivery, &rejection, &stopping).await,
            Work::Run(task, lane) => {
                let one = One {
                    shared: &shared,
                    delivery: &delivery,
                    task: &task,
                    stopping: &stopping,
                    cancelled: &cancelled,
                };
                let verdict = one.verdict(lane).await;
                one.settle(verdict).await;
            }
        }
    }
}

/// A place in the lane of the task, taken now though granted later.
async fn in_line(shared: &Shared, task: &TaskRequest) -> Option<Lane> {
    let lane = shared.tasks.get(task.name())?.lane.clone()?;
    let mut place: Lane = Box::pin(lane.acquire_owned());
    match futures_util::poll!(&mut place) {
        Poll::Ready(permit) => Some(Box::pin(std::future::ready(permit))),
        Poll::Pending => Some(place),
    }
}

/// Refuses a message that is not a task, telling whoever sent it if it says who that is.
async fn refuse(shared: &Shared, delivery: &Delivery, rejection: &Rejection, stopping: &CancellationToken) {
    tracing::warn!(worker = shared.name, task.id = rejection.identity.id, error = %rejection.error, "refused a message that cannot be read as a task");
    if let Some(failure) = rejection.failure(clock::now())
        && let Err(NotStored(error)) = store(&shared.broker, &rejection.identity, failure).await
    {
        return give_back(shared, delivery, &error, stopping).await;
    }
    shared.counters.rejected.fetch_add(1, Relaxed);
    log_unsettled(shared, delivery.reject(false).await);
}

struct One<'a> {
    shared: &'a Arc<Shared>,
    delivery: &'a Delivery,
    task: &'a TaskRequest,
    stopping: &'a CancellationToken,
    cancelled: &'a CancellationToken,
}

impl One<'_> {
    async fn verdict(&self, lane: Option<Lane>) -> Verdict {
        let Some(registered) = self.shared.tasks.get(self.task.name()) else {
            tracing::warn!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                "refused an unknown task"
            );
            return Verdict::Refused(self.failure(&ExceptionInfo::not_registered(self.task.name()), None));
        };
        if has_follow_ups(self.task) {
            tracing::warn!(
                worker = self.shared.name,
                task.id = self.task.id(),
                "refused a task with callbacks, a chain or a chord"
            );
            let reason = "callbacks, chains and chords are not supported by this worker; the task was not run";
            return Verdict::Refused(self.failure(&ExceptionInfo::builtin("NotImplementedError", reason), None));
        }
        if let Some(eta) = self.task.headers.eta.as_ref().map(celery_protocol::WireTime::timestamp) {
            match self.hold_until(eta).await {
                Held::Due => {}
                Held::Stopped => return Verdict::Left,
                Held::TooLong => return self.publish_again().await,
            }
        }
        let lane = match lane {
            Some(lane) => Some(lane),
            None => in_line(self.shared, self.task).await,
        };
        let _turn = match lane {
            None => None,
            Some(lane) => tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Verdict::Left,
                permit = lane => permit.ok(),
            },
        };
        // Looked at last, because the wait may have been long.
        if self.task.is_expired(clock::now()) {
            tracing::info!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                "task expired before it was run"
            );
            self.shared.counters.expired.fetch_add(1, Relaxed);
            let revoked = ResultMeta::revoked(self.task.id(), &ExceptionInfo::task_revoked("expired"), clock::now());
            return Verdict::Done(self.with_lineage(revoked));
        }
        if self.stopping.is_cancelled() {
            return Verdict::Left;
        }
        // A second copy may have been delivered on a new channel while this one waited.
        if self.delivery.is_stale() {
            tracing::debug!(task.id = self.task.id(), "left a task whose connection has ended to its redelivery");
            return Verdict::Left;
        }
        match self.execute(&registered.handler).await {
            Some(result) => self.judge(result),
            None => Verdict::Left,
        }
    }

    /// Runs the handler; `None` if it stopped because the worker has to end.
    async fn execute(&self, handler: &Handler) -> Option<Result<Value, TaskError>> {
        let context = TaskContext {
            task_id: self.task.id().to_owned(),
            task_name: self.task.name().to_owned(),
            retries: self.task.headers.retries,
            redelivered: self.delivery.redelivered,
            exchange: self.delivery.exchange.clone(),
            routing_key: self.delivery.routing_key.clone(),
            correlation_id: self.task.correlation_id().to_owned(),
            reply_to: self.task.reply_to().map(str::to_owned),
            expires: self.task.headers.expires.as_ref().map(celery_protocol::WireTime::timestamp),
            headers: self.task.headers.extra.clone(),
            identity: self.task.identity(),
            broker: Some(self.shared.broker.clone()),
            cancelled: self.cancelled.child_token(),
        };
        let arguments = Arguments {
            task: self.task.name().to_owned(),
            args: self.task.args.clone(),
            kwargs: self.task.kwargs.clone(),
        };
        let _running = self.shared.counters.running();
        let started = tokio::time::Instant::now();
        // The call itself may panic as well as the future it makes.
        let running = AssertUnwindSafe(async {
            if let Some(guard) = &self.shared.guard {
                guard(&context)?;
            }
            handler(context, arguments).await
        })
        .catch_unwind();
        let result = running.await.unwrap_or_else(|panic| {
            tracing::error!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                panic = panic_text(panic.as_ref()),
                "handler panicked"
            );
            // The text stays in the log: it may hold what a caller must not see.
            Err(TaskError::runtime_error("the task ended by an internal error (panic); see the worker's log"))
        });
        let runtime_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(_) => tracing::info!(
                worker = self.shared.name,
                task.id = self.task.id(),
                task = self.task.name(),
                runtime_ms,
                "task succeeded"
            ),
            // A handler that was told to stop and failed has not failed: it is delivered again.
            Err(error) if self.cancelled.is_cancelled() => {
                tracing::info!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), runtime_ms, %error, "task stopped with the worker");
                return None;
            }
            Err(error) => {
                tracing::warn!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), runtime_ms, %error, "task failed")
            }
        }
        Some(result)
    }

    fn judge(&self, result: Result<Value, TaskError>) -> Verdict {
        Verdict::Done(match result {
            Ok(value) => {
                self.shared.counters.succeeded.fetch_add(1, Relaxed);
                self.with_lineage(ResultMeta::success(self.task.id(), value, clock::now()))
            }
            Err(error) => {
                self.shared.counters.failed.fetch_add(1, Relaxed);
                let exception = ExceptionInfo::new(&error.exc_module, &error.exc_type, error.messages);
                self.failure(&exception, error.traceback)
            }
        })
    }

    /// Result first, acknowledgement last.
    async fn settle(&self, verdict: Verdict) {
        let (meta, refused) = match verdict {
            Verdict::Left => return,
            Verdict::Later => return log_unsettled(self.shared, self.delivery.ack().await),
            Verdict::Done(meta) => (meta, false),
            Verdict::Refused(meta) => (meta, true),
        };
        if let Err(NotStored(error)) = store(&self.shared.broker, &self.task.identity(), meta).await {
            return give_back(self.shared, self.delivery, &error, self.stopping).await;
        }
        let settled = if refused {
            self.shared.counters.rejected.fetch_add(1, Relaxed);
            self.delivery.reject(false).await
        } else {
            self.delivery.ack().await
        };
        log_unsettled(self.shared, settled);
    }

    async fn hold_until(&self, eta: Timestamp) -> Held {
        let began = tokio::time::Instant::now();
        // Only what came by the default exchange can be published again as it was.
        let may_return = self.delivery.exchange.is_empty();
        loop {
            let Ok(left) = Duration::try_from(eta.duration_since(clock::now())) else {
                return Held::Due;
            };
            if left.is_zero() {
                return Held::Due;
            }
            // An expired task need not wait for its time.
            if self.task.is_expired(clock::now()) {
                return Held::Due;
            }
            let mut wait = left.min(HOLD);
            if may_return {
                match HOLD.checked_sub(began.elapsed()) {
                    Some(rest) if !rest.is_zero() => wait = wait.min(rest),
                    _ => return Held::TooLong,
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return Held::Stopped,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn publish_again(&self) -> Verdict {
        let mut message: Message = self.delivery.message.clone();
        if let Some(expires) = &self.task.headers.expires {
            let left = expires.timestamp().duration_since(clock::now()).as_millis().max(0);
            message.properties.expiration = Some(left.to_string());
        }
        match self.shared.broker.publish(Publish::task(self.delivery.routing_key.clone(), message)).await {
            Ok(()) => Verdict::Later,
            Err(error) => {
                tracing::warn!(worker = self.shared.name, task.id = self.task.id(), %error, "a task for later could not be published again");
                give_back(self.shared, self.delivery, &error, self.stopping).await;
                Verdict::Left
            }
        }
    }

    fn failure(&self, exception: &ExceptionInfo, traceback: Option<String>) -> ResultMeta {
        self.with_lineage(ResultMeta::failure(self.task.id(), exception, traceback, clock::now()))
    }

    fn with_lineage(&self, meta: ResultMeta) -> ResultMeta {
        meta.with_lineage(self.task.headers.group.as_deref(), self.task.headers.parent_id.as_deref())
    }
}

enum Held {
    Due,
    Stopped,
    TooLong,
}

fn has_follow_ups(task: &TaskRequest) -> bool {
    let any = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    any(&task.embed.callbacks) || any(&task.embed.errbacks) || any(&task.embed.chain) || task.embed.chord.is_some()
}

/// Gives a task back whose result could not be published: unacknowledged, so that it is run again.
async fn give_back(
    shared: &Shared,
    delivery: &Delivery,
    error: &crate::broker::PublishError,
    stopping: &CancellationToken,
) {
    tracing::warn!(worker = shared.name, %error, "a result could not be published, the task goes back to its queue");
    shared.counters.returned.fetch_add(1, Relaxed);
    // Slowly, lest a broken reply path spins. At shutdown the closing channel gives it back.
    tokio::select! {
        () = stopping.cancelled() => return,
        () = tokio::time::sleep(RETURN_DELAY) => {}
    }
    log_unsettled(shared, delivery.reject(true).await);
}

fn log_unsettled(shared: &Shared, outcome: Result<(), AckError>) {
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of another type than text")
}
