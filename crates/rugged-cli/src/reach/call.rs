//! What a call that came to nothing means, and what to do about it.

use std::time::Duration;

use celery_runtime::broker::PublishError;
use celery_runtime::client::CallError;
use fleet::exceptions;
use serde_json::Value;

use crate::error::CliError;
use crate::output::one_line;

/// The error for a call of `task` on `queue` that failed with `error`.
#[must_use]
pub fn explain(queue: &str, task: &str, error: &CallError, deadline: Duration) -> CliError {
    match error {
        CallError::Timeout { .. } => {
            CliError::no_answer(format!("{queue} did not answer {task} within {} s", deadline.as_secs_f64())).hint(
                "it may be down (`rugged status`) or busy (--timeout SECONDS); a task that was not started by then never is, \
                 and doing it again is safe",
            )
        }
        CallError::Publish(PublishError::Unroutable { .. }) => {
            CliError::no_answer(format!("no {queue} has ever listened on this broker")).hint("start it, or check broker_url and its virtual host")
        }
        CallError::Publish(error) => CliError::no_answer(error.to_string())
            .hint("`rugged config` shows broker_url; operators' tasks need the right to write to the exchange rugged.admin"),
        CallError::Revoked { .. } => {
            CliError::no_answer(format!("{queue} was busy until {task} had expired; it was not run")).hint("try again, or with a longer --timeout")
        }
        CallError::Closed => CliError::no_answer("the fleet ended while its answer was awaited").hint("see `rugged status`"),
        CallError::TaskFailed { exc_type, exc_module, messages, .. } => failed(queue, task, exc_type, exc_module.as_deref(), messages),
        other => CliError::no_answer(other.to_string()),
    }
}

fn failed(queue: &str, task: &str, exc_type: &str, exc_module: Option<&str>, messages: &[Value]) -> CliError {
    let texts = messages.iter().map(|message| message.as_str().map_or_else(|| message.to_string(), str::to_owned));
    let message = one_line(&texts.collect::<Vec<_>>().join(", "));
    if exc_module != Some(exceptions::MODULE) {
        return CliError::task_failed(format!("{queue}: {task} failed: {exc_type}: {message}"))
            .hint("worker and command may be of different versions: see `rugged status`");
    }
    let hint = match exc_type {
        exceptions::NOT_READY => "it waits for something; `rugged status` says for what",
        exceptions::ALARM => "the worker does not sign until somebody looks into this; its log says more",
        exceptions::INFRASTRUCTURE => "mend it and try again; nothing was half done",
        exceptions::NOT_PERMITTED => "this task needs a broker user that may write to the exchange rugged.admin",
        exceptions::REFUSED => "nothing was changed; mend the request and try again",
        _ => "the worker's log says more",
    };
    CliError::task_failed(format!("{queue}: {message}")).hint(hint)
}
