//! The worker that log lines come from.

use std::sync::OnceLock;

use tracing::Span;

/// The worker of lines that come from outside any worker's span, in a process that is one worker.
static PROCESS_WORKER: OnceLock<String> = OnceLock::new();

/// Names the worker that this process is, for lines that libraries write outside its span.
pub fn set_process_worker(worker: &str) {
    // The first name stays: a process is one worker or none.
    let _ = PROCESS_WORKER.set(worker.to_owned());
}

/// The span every worker runs in: its name and its instance are on every line, also where only errors are logged.
#[must_use]
pub fn worker_span(worker: &str, instance: &str) -> Span {
    // At the highest level: a filter drops a span below its own level, and with `log_level: warn` the lines would lose
    // the worker's name.
    tracing::error_span!("worker", worker, worker.instance = instance)
}

pub(super) fn process_worker() -> Option<&'static str> {
    PROCESS_WORKER.get().map(String::as_str)
}
