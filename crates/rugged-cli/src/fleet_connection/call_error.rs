//! Errors of calls, in the user's terms.

use std::time::Duration;

use celery_runtime::broker::PublishError;
use celery_runtime::client::CallError;
use fleet::exceptions;
use serde_json::Value;

use crate::error::CliError;
use crate::output::one_line;

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
        error @ CallError::Publish(_) => CliError::no_answer(error).hint(
            "check broker_url with `rugged config`; operators' tasks need a broker user that may write to the exchange \
             rugged.admin",
        ),
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
