//! Running one handler: time limits, stopping, panics.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use celery_protocol::WireTime;
use futures_util::FutureExt;
use serde_json::{Number, Value};
use tokio::time::Instant;

use super::{
    context::TaskContext,
    handler::RegisteredTask,
    registry::{StopCause, TimeLimits},
    task_in_hand::TaskInHand,
};
use crate::{Arguments, TaskError};

/// How long a terminated task has to reach a safe point before it is dropped at its next await.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// How a handler ended.
pub(super) enum HandlerResult {
    /// It returned, after that time.
    Returned(Result<Value, TaskError>, Duration),
    /// It was dropped because its hard limit, of that many seconds, had passed.
    HardTimeLimit(Number),
    /// It was terminated.
    Terminated,
    /// It was stopped with the worker, and is delivered again.
    Stopped,
}

impl TaskInHand<'_> {
    /// Runs the handler within its time limits, until it ends or is dropped.
    pub async fn run_handler(&self, registered: &RegisteredTask) -> HandlerResult {
        let context = self.context();
        let arguments = Arguments {
            task: self.task.name().to_owned(),
            args: self.task.args.clone(),
            kwargs: self.task.kwargs.clone(),
        };
        self.tracker.runs();
        // Terminated since it was last checked whether it is revoked: it must not start.
        if self.tracker.terminated().is_cancelled() {
            return HandlerResult::Terminated;
        }
        let _in_flight = self.core.counters.in_flight();
        let started = Instant::now();
        // The call may panic as well as the future it makes.
        let running = AssertUnwindSafe(async {
            if let Some(guard) = &self.core.guard {
                guard(&context)?;
            }
            (registered.handler)(context, arguments).await
        })
        .catch_unwind();
        tokio::pin!(running);
        let (limits, hard_number) = self.limits();
        let at = |limit: Option<Duration>| limit.and_then(|limit| started.checked_add(limit));
        let (hard, mut soft, mut dropped) = (at(limits.hard), at(limits.soft), None);
        let (token, terminated) = (self.tracker.token(), self.tracker.terminated());
        let mut stopped = false;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut running => break result,
                () = self.cancelled.cancelled(), if !stopped => {
                    stopped = true;
                    self.tracker.stop(StopCause::Shutdown);
                }
                // Also after its soft limit or a shutdown has stopped it.
                () = terminated.cancelled(), if dropped.is_none() => dropped = Some(Instant::now() + TERMINATE_GRACE),
                () = token.cancelled(), if !stopped => stopped = true,
                () = until(hard) => {
                    tracing::warn!("task ended by its hard time limit");
                    return HandlerResult::HardTimeLimit(hard_number);
                }
                () = until(dropped) => return HandlerResult::Terminated,
                () = until(soft) => {
                    soft = None;
                    tracing::info!("task stopped by its soft time limit");
                    self.tracker.stop(StopCause::SoftTimeLimit);
                }
            }
        };
        let runtime = started.elapsed();
        let result = result.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(panic.as_ref()), "handler panicked");
            // The text stays in the log: it may hold a secret that the caller must not see.
            Err(TaskError::runtime_error("the task ended with an internal error (panic); see the worker's log"))
        });
        match (result, self.tracker.cause()) {
            // A task that was stopped and returned a value all the same has done its work.
            (Ok(value), _) => HandlerResult::Returned(Ok(value), runtime),
            (Err(error), Some(StopCause::Shutdown)) => {
                tracing::info!(%error, "task stopped with the worker");
                HandlerResult::Stopped
            }
            (Err(_), Some(StopCause::Terminated)) => HandlerResult::Terminated,
            // The handler answered the limit by asking for a retry, or for no result.
            (Err(error), Some(StopCause::SoftTimeLimit)) if error.retry.is_some() || error.unanswered.is_some() => {
                HandlerResult::Returned(Err(error), runtime)
            }
            (Err(error), Some(StopCause::SoftTimeLimit)) => {
                let mut exceeded = TaskError::custom("billiard.exceptions", "SoftTimeLimitExceeded", "");
                exceeded.messages.clear();
                exceeded.traceback = Some(error.to_string().into());
                HandlerResult::Returned(Err(exceeded), runtime)
            }
            (Err(error), None) => HandlerResult::Returned(Err(error), runtime),
        }
    }

    fn context(&self) -> TaskContext {
        TaskContext {
            task_id: self.task.id().to_owned(),
            task_name: self.task.name().to_owned(),
            retries: self.task.headers.retries,
            redelivered: self.may_have_run(),
            exchange: self.delivery.exchange.clone(),
            exchange_is_guarded: self.core.broker.guards_exchanges(),
            routing_key: self.delivery.routing_key.clone(),
            correlation_id: self.task.correlation_id().to_owned(),
            reply_to: self.task.reply_to().map(str::to_owned),
            expires: self.task.headers.expires.as_ref().map(WireTime::timestamp),
            headers: self.task.headers.extra.clone(),
            identity: self.identity.clone(),
            request: Some(Arc::clone(self.task)),
            backend: Some(self.core.backend.clone()),
            cancelled: self.tracker.token().clone(),
            cause: self.tracker.cause_cell(),
        }
    }

    /// The limits of the message, else those of the task; and the hard one as the exception states it.
    fn limits(&self) -> (TimeLimits, Number) {
        let (wanted, general) = (&self.task.headers.timelimit, self.core.registry.time_limits(self.task.name()));
        let hard = wanted.hard_duration().or(general.hard);
        let seconds = hard.map_or(0, |limit| limit.as_secs());
        let number = wanted.hard.clone().unwrap_or_else(|| match hard {
            Some(limit) if limit.subsec_nanos() != 0 => {
                Number::from_f64(limit.as_secs_f64()).unwrap_or_else(|| seconds.into())
            }
            _ => seconds.into(),
        });
        (TimeLimits { hard, soft: wanted.soft_duration().or(general.soft) }, number)
    }
}

/// Never returns without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of another type than text")
}
