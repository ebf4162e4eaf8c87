//! Running one handler: time limits, being told to stop, panics.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use celery_protocol::WireTime;
use futures_util::FutureExt;
use serde_json::{Number, Value};
use tokio::time::Instant;

use super::{
    Registered, TaskContext,
    execute::One,
    registry::{StopCause, TimeLimits},
};
use crate::{Arguments, TaskError};

/// How long a task that was terminated gets to reach a safe point before it is dropped at its next await.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// How a handler ended.
pub(super) enum Ran {
    /// By itself, after so long.
    Returned(Result<Value, TaskError>, Duration),
    /// It was dropped because its hard limit, of so many seconds, had passed.
    HardLimit(Number),
    /// Somebody terminated it.
    Terminated,
    /// The worker has to end; it is delivered again.
    Stopped,
}

impl One<'_> {
    pub(super) async fn execute(&self, registered: &Registered) -> Ran {
        let context = self.context();
        let arguments = Arguments {
            task: self.task.name().to_owned(),
            args: self.task.args.clone(),
            kwargs: self.task.kwargs.clone(),
        };
        self.tracked.runs();
        // After it was last looked whether it is revoked: then it must not start.
        if self.tracked.terminated().is_cancelled() {
            return Ran::Terminated;
        }
        let _running = self.shared.counters.running();
        let started = Instant::now();
        // The call itself may panic as well as the future it makes.
        let running = AssertUnwindSafe(async {
            if let Some(guard) = &self.shared.guard {
                guard(&context)?;
            }
            (registered.handler)(context, arguments).await
        })
        .catch_unwind();
        tokio::pin!(running);
        let (limits, hard_number) = self.limits();
        let at = |limit: Option<Duration>| limit.and_then(|limit| started.checked_add(limit));
        let (hard, mut soft, mut dropped) = (at(limits.hard), at(limits.soft), None);
        let (token, terminated) = (self.tracked.token(), self.tracked.terminated());
        let mut told = false;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut running => break result,
                () = self.cancelled.cancelled(), if !told => {
                    told = true;
                    self.tracked.stop(StopCause::Shutdown);
                }
                // Also after its soft limit, or a shutdown, has told it to stop.
                () = terminated.cancelled(), if dropped.is_none() => dropped = Some(Instant::now() + TERMINATE_GRACE),
                () = token.cancelled(), if !told => told = true,
                () = until(hard) => {
                    tracing::warn!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), "task ended by its hard time limit");
                    return Ran::HardLimit(hard_number);
                }
                () = until(dropped) => return Ran::Terminated,
                () = until(soft) => {
                    soft = None;
                    tracing::info!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), "task told to stop by its soft time limit");
                    self.tracked.stop(StopCause::SoftTimeLimit);
                }
            }
        };
        let runtime = started.elapsed();
        let result = result.unwrap_or_else(|panic| {
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
        match (result, self.tracked.cause()) {
            // Whoever was told to stop and ended well all the same has done its work.
            (Ok(value), _) => Ran::Returned(Ok(value), runtime),
            (Err(error), Some(StopCause::Shutdown)) => {
                tracing::info!(worker = self.shared.name, task.id = self.task.id(), task = self.task.name(), %error, "task stopped with the worker");
                Ran::Stopped
            }
            (Err(_), Some(StopCause::Terminated)) => Ran::Terminated,
            // It took the limit for a reason to be tried again, or wants no answer.
            (Err(error), Some(StopCause::SoftTimeLimit)) if error.retry.is_some() || error.unanswered.is_some() => {
                Ran::Returned(Err(error), runtime)
            }
            (Err(error), Some(StopCause::SoftTimeLimit)) => {
                let mut exceeded = TaskError::custom("billiard.exceptions", "SoftTimeLimitExceeded", "");
                exceeded.messages.clear();
                exceeded.traceback = Some(error.to_string().into());
                Ran::Returned(Err(exceeded), runtime)
            }
            (Err(error), None) => Ran::Returned(Err(error), runtime),
        }
    }

    fn context(&self) -> TaskContext {
        TaskContext {
            task_id: self.task.id().to_owned(),
            task_name: self.task.name().to_owned(),
            retries: self.task.headers.retries,
            redelivered: self.delivery.redelivered || self.task.is_restored(),
            exchange: self.delivery.exchange.clone(),
            exchange_is_guarded: self.shared.broker.guards_exchanges(),
            routing_key: self.delivery.routing_key.clone(),
            correlation_id: self.task.correlation_id().to_owned(),
            reply_to: self.task.reply_to().map(str::to_owned),
            expires: self.task.headers.expires.as_ref().map(WireTime::timestamp),
            headers: self.task.headers.extra.clone(),
            identity: self.identity.clone(),
            request: Some(Arc::clone(self.task)),
            backend: Some(self.shared.backend.clone()),
            cancelled: self.tracked.token().clone(),
            cause: self.tracked.cause_cell(),
        }
    }

    /// The limits of the message, else those of the task; and the hard one as the exception will say it.
    fn limits(&self) -> (TimeLimits, Number) {
        let (wanted, general) = (&self.task.headers.timelimit, self.shared.registry.time_limits(self.task.name()));
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

/// Never, without a time.
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
