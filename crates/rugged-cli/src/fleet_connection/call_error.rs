//! Errors of calls, in the user's terms.

use std::time::Duration;

use celery_runtime::broker::PublishError;
use celery_runtime::client::CallError;
use fleet::exceptions;
use serde_json::Value;

use crate::error::CliError;
use crate::output::one_line;

/// What to do about a broker that cannot be reached.
pub const BROKER_HINT: &str = "check that the broker runs, and broker_url with `rugged config`: host, port, user, password \
                               and virtual host";

/// The error of a command whose call of `task` on `queue` failed with `error`.
#[must_use]
pub fn explain_call_error(queue: &str, task: &str, error: CallError, deadline: Duration) -> CliError {
    match error {
        CallError::Timeout { .. } => CliError::no_answer(format!(
            "{queue} did not answer {task} within {} s",
            deadline.as_secs_f64()
        ))
        .hint(
            "run `rugged status` to see whether it is down, or raise --timeout if it is busy; repeating the command is \
                 safe, because a worker never starts a task after its deadline",
        ),
        CallError::Publish(PublishError::Unroutable { .. }) => {
            CliError::no_answer(format!("no {queue} has ever connected to this broker"))
                .hint("start it, or check broker_url and its virtual host")
        }
        error @ CallError::Publish(PublishError::Refused { .. }) => CliError::no_answer(error).hint(
            "the broker user lacks a right: operators' tasks need one that may write to the exchange rugged.admin, and \
             every command one that may declare its reply queue",
        ),
        error @ CallError::Publish(PublishError::Unavailable { .. }) => CliError::no_answer(error).hint(BROKER_HINT),
        error @ CallError::Publish(PublishError::Nacked { .. } | PublishError::Timeout) => CliError::no_answer(error)
            .hint("see the broker's log, and its alarms for memory and disk (`rabbitmq-diagnostics alarms`); then repeat the command"),
        error @ CallError::Publish(_) => CliError::no_answer(error).hint("see the reason above; nothing was sent"),
        CallError::Revoked { .. } => {
            CliError::no_answer(format!("{queue} did not run {task}: it was busy until the task expired"))
                .hint("try again, or raise --timeout")
        }
        CallError::Closed => CliError::no_answer(format!("the fleet ended before {queue} answered {task}"))
            .hint("run `rugged status` to see which workers run"),
        CallError::TaskFailed { exc_type, exc_module, messages, .. } => {
            failed_task(queue, task, &exc_type, exc_module.as_deref(), &messages)
        }
        other => CliError::no_answer(other),
    }
}

fn failed_task(queue: &str, task: &str, exc_type: &str, exc_module: Option<&str>, messages: &[Value]) -> CliError {
    let texts = messages.iter().map(|message| message.as_str().map_or_else(|| message.to_string(), str::to_owned));
    let message = one_line(&texts.collect::<Vec<_>>().join(", "));
    if exc_module != Some(exceptions::MODULE) {
        return CliError::task_failed(format!("{queue}: {task} failed: {exc_type}: {message}"))
            .hint("compare the versions of the workers with `rugged --version`; `rugged --json status` shows them");
    }
    let hint = match exc_type {
        exceptions::NOT_READY => "the worker waits for a requirement; `rugged status` names it",
        exceptions::ALARM => "the worker signs nothing until an operator resolves this; see its log",
        exceptions::INFRASTRUCTURE => "fix the cause and repeat the command; the worker left nothing half done",
        exceptions::NOT_PERMITTED => "use a broker user that may write to the exchange rugged.admin",
        exceptions::REFUSED => "correct the request and repeat the command; nothing was changed",
        _ => "see the worker's log",
    };
    CliError::task_failed(format!("{queue}: {message}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_not_explained_as_missing_rights() {
        let hint = |error: PublishError| {
            let error = explain_call_error("q", "t", CallError::Publish(error), Duration::from_secs(1));
            error.next_step().unwrap_or_default().to_owned()
        };
        let away = hint(PublishError::Unavailable { reason: "connection refused".into() });
        assert!(away.contains("broker runs") && !away.contains("rugged.admin"), "{away}");
        let forbidden = hint(PublishError::Refused { reason: "ACCESS_REFUSED".into() });
        assert!(forbidden.contains("rugged.admin"), "{forbidden}");
        assert!(!hint(PublishError::Timeout).contains("rugged.admin"));
    }
}
