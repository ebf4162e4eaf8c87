//! From the end of a run to its outcome.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use celery_protocol::{
    ExceptionInfo, ResultMeta, State,
    canvas::{Plan, Sender},
    python,
};
use serde_json::Value;

use super::{
    handler::RegisteredTask,
    outcome::{FinalOutcome, NextTry, Outcome},
    registry::TaskEventKind,
    retry,
    settlement::Settlement,
    task_in_hand::TaskInHand,
};
use crate::{TaskError, Unanswered, clock};

/// The longest `repr` of a result in an event, in bytes.
const MAX_REPR_BYTES: usize = 1024;

/// Why a task has the state REVOKED.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RevokeReason {
    Expired,
    Revoked,
    Terminated,
}

impl RevokeReason {
    /// As Celery writes it into the result.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Terminated => "terminated",
        }
    }
}

impl TaskInHand<'_> {
    /// The handler returned a value.
    pub fn succeeded(&self, value: Value, runtime: Duration) -> FinalOutcome {
        let runtime_ms = u64::try_from(runtime.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(runtime_ms, "task succeeded");
        self.core.counters.succeeded.fetch_add(1, Relaxed);
        let sender = Sender { origin: Some(&self.core.origin), ..Sender::task(self.task, clock::now()) };
        let (before, children) = match sender.on_success(self.task, &value) {
            Ok(following) => following,
            // Not expected: this was tried before the task ran, and it does not depend on the value.
            Err(error) => return self.failed_to_continue(format!("the tasks that follow cannot be sent: {error}")),
        };
        let mut result = String::new();
        self.core.registry.events.when_wanted(|| result = shortened(python::repr(&value)));
        let meta = self.completed(ResultMeta::success(self.task.id(), value, clock::now()));
        let meta = ResultMeta { children, ..meta };
        let event = Some(TaskEventKind::Succeeded { result, runtime });
        FinalOutcome { meta, before, after: Plan::default(), refused: false, event }
    }

    /// The task succeeded, but the tasks that follow it cannot be sent.
    pub fn failed_to_continue(&self, message: String) -> FinalOutcome {
        self.failed(&ExceptionInfo::builtin("RuntimeError", message), None)
    }

    /// The handler returned an error: the task is retried, rejected, or fails.
    pub fn handler_failed(&self, registered: &RegisteredTask, error: TaskError) -> Settlement {
        let retries = self.task.headers.retries;
        if let Some(unanswered) = error.unanswered {
            tracing::info!(%error, "task ended without a result");
            return match unanswered {
                Unanswered::Ignored => Settlement::Report(Outcome::AckOnly),
                Unanswered::Rejected { requeue } => Settlement::Reject { reason: Box::new(error), requeue },
            };
        }
        let wait = registered.options.retry.next(&error, retries, retry::random());
        // A worker that takes no tasks for later would refuse the retry too.
        let wait = wait.filter(|wait| self.core.max_eta.is_none_or(|longest| *wait <= longest));
        let exception = ExceptionInfo::new(&error.exc_module, &error.exc_type, error.messages.clone());
        let failed = self.failed(&exception, error.traceback.as_deref().map(str::to_owned));
        let at = wait.and_then(|wait| clock::now().checked_add(wait).ok());
        let Some(at) = at else {
            tracing::warn!(retries, %error, "task failed");
            self.core.counters.failed.fetch_add(1, Relaxed);
            return failed.into();
        };
        tracing::info!(retries, %error, "task will be retried");
        self.core.counters.retried.fetch_add(1, Relaxed);
        let mut request = self.task.retried(Some(at));
        // The `expires` header still holds; by its own copy the broker would drop the task without a result.
        request.properties.expiration = None;
        let meta = self.completed(ResultMeta::retry(
            self.task.id(),
            &exception,
            error.traceback.as_deref().map(str::to_owned),
        ));
        let event =
            TaskEventKind::Retried { exception: exception.repr(), traceback: error.traceback.map(String::from) };
        Settlement::Report(Outcome::Retry(Box::new(NextTry { request, meta, fallback: failed, event })))
    }

    /// The task failed with an exception.
    pub fn failed(&self, exception: &ExceptionInfo, traceback: Option<String>) -> FinalOutcome {
        let event = TaskEventKind::Failed { exception: exception.repr(), traceback: traceback.clone() };
        let meta = ResultMeta::failure(self.task.id(), exception, traceback, clock::now());
        let after = Sender::task(self.task, clock::now()).on_failure(self.task).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot send the errbacks of the task");
            Plan::default()
        });
        FinalOutcome { meta: self.completed(meta), before: Plan::default(), after, refused: false, event: Some(event) }
    }

    /// The task failed without being run, and none of the tasks that follow is sent.
    pub fn failed_alone(&self, exception: &ExceptionInfo) -> FinalOutcome {
        let meta = self.completed(ResultMeta::failure(self.task.id(), exception, None, clock::now()));
        let event = Some(TaskEventKind::Failed { exception: exception.repr(), traceback: None });
        FinalOutcome { meta, before: Plan::default(), after: Plan::default(), refused: false, event }
    }

    /// The task failed without being run, and its message is rejected.
    pub fn refused(&self, exception: &ExceptionInfo) -> FinalOutcome {
        FinalOutcome { refused: true, ..self.failed(exception, None) }
    }

    /// The task was not run, or was terminated.
    pub fn revoked(&self, reason: RevokeReason) -> FinalOutcome {
        let exception = ExceptionInfo::task_revoked(reason.as_str());
        let meta = ResultMeta::revoked(self.task.id(), &exception, clock::now());
        let terminated = reason == RevokeReason::Terminated;
        let signum = terminated.then(|| "15".to_owned());
        let event = TaskEventKind::Revoked { terminated, signum, expired: reason == RevokeReason::Expired };
        let meta = self.completed(meta);
        FinalOutcome { meta, before: Plan::default(), after: Plan::default(), refused: false, event: Some(event) }
    }

    /// Adds to a result what the message says about the task and, with `result_extended`, its arguments, worker, retries,
    /// queue and stamps.
    fn completed(&self, meta: ResultMeta) -> ResultMeta {
        let headers = &self.task.headers;
        let mut meta = meta.with_lineage(headers.group.as_deref(), headers.parent_id.as_deref());
        if self.core.result_extended && meta.state != State::Retry {
            let mut put = |name: &str, value: Value| meta.extra.insert(name.to_owned(), value);
            put("name", self.task.name().into());
            put("args", self.task.args.clone().into());
            put("kwargs", self.task.kwargs.clone().into());
            put("worker", self.core.name.as_str().into());
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
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_REPR_BYTES {
        let end = (0..=MAX_REPR_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
