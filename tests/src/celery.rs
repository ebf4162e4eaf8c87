//! An unmodified Python Celery client.

use std::time::Duration;

use serde_json::Value;
use testkit::servers::Python;

use crate::Fleet;

/// Sends `task` to `queue` as `send_task(task, kwargs=…, queue=…)` does, and returns what `.get()` returned or raised. See
/// `tests/python/celery_client.py`; `more` are further arguments of it.
///
/// # Panics
///
/// If the client itself fails; a failure of the task is an answer.
#[track_caller]
#[must_use]
pub fn send_task(fleet: &Fleet, queue: &str, task: &str, kwargs: &Value, more: &[&str]) -> Value {
    let kwargs = kwargs.to_string();
    let mut arguments = vec!["--broker", &fleet.vhost().amqp_url, "--queue", queue, "--kwargs", &kwargs];
    arguments.extend(["--timeout", "30"]);
    arguments.extend(more);
    arguments.push(task);
    Python::spawn("celery_client.py", arguments, &[]).wait(Duration::from_secs(60)).success().json()
}

/// As [`send_task`], through the exchange that only an operator may write to.
///
/// # Panics
///
/// As [`send_task`].
#[track_caller]
#[must_use]
pub fn send_as_operator(fleet: &Fleet, queue: &str, task: &str, kwargs: &Value) -> Value {
    send_task(fleet, queue, task, kwargs, &["--exchange", fleet::contract::ADMIN_EXCHANGE])
}
