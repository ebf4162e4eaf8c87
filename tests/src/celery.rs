//! An unmodified Python Celery client.

use std::fs;
use std::time::Duration;

use fleet::{contract, exceptions};
use serde_json::Value;
use testkit::servers::Python;

use crate::Fleet;

/// Sends `task` to `queue` as `send_task(task, kwargs=…, queue=…)` does, and returns what `.get()` returned or raised: see
/// `tests/python/celery_client.py`.
///
/// # Panics
///
/// If the client itself fails; a failure of the task is an answer.
#[track_caller]
#[must_use]
pub fn send_task(fleet: &Fleet, queue: &str, task: &str, kwargs: &Value) -> Value {
    send(fleet, queue, task, kwargs, &[], &[])
}

/// As [`send_task`], through the exchange that only an operator may write to.
///
/// # Panics
///
/// As [`send_task`].
#[track_caller]
#[must_use]
pub fn send_as_operator(fleet: &Fleet, queue: &str, task: &str, kwargs: &Value) -> Value {
    send(fleet, queue, task, kwargs, &["--exchange", contract::ADMIN_EXCHANGE], &[])
}

/// As [`send_task`], by a program that has the classes `names` in a module `tuf_fleet.exceptions` of its own.
///
/// # Panics
///
/// As [`send_task`].
#[track_caller]
#[must_use]
pub fn send_knowing(names: &[&str], fleet: &Fleet, queue: &str, task: &str, kwargs: &Value) -> Value {
    let path = fleet.path("python");
    let package = path.join("tuf_fleet");
    fs::create_dir_all(&package).expect("a directory");
    let classes: String = names.iter().map(|name| format!("class {name}(Exception):\n    pass\n")).collect();
    fs::write(package.join("__init__.py"), "").expect("a package");
    fs::write(package.join("exceptions.py"), classes).expect("a module");
    // Celery looks for classes in modules that are loaded.
    fs::write(path.join("sitecustomize.py"), format!("import {}\n", exceptions::MODULE)).expect("a module");
    send(fleet, queue, task, kwargs, &[], &[("PYTHONPATH", path.to_str().expect("a path in UTF-8"))])
}

#[track_caller]
fn send(fleet: &Fleet, queue: &str, task: &str, kwargs: &Value, more: &[&str], env: &[(&str, &str)]) -> Value {
    let kwargs = kwargs.to_string();
    let mut arguments = vec!["--broker", &fleet.vhost().amqp_url, "--queue", queue, "--kwargs", &kwargs];
    arguments.extend(more);
    arguments.push(task);
    Python::spawn("celery_client.py", arguments, env).wait(Duration::from_secs(90)).success().json()
}
