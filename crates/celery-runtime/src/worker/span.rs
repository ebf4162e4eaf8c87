//! The spans of a worker and of its tasks, which put its name and their ids on every log line.
//!
//! They are on the level of errors, so that they are there whenever anything is logged: a failure logged at `warn` names its
//! task also where `info` is switched off.

use celery_protocol::{Rejection, TaskRequest};
use tracing::Span;

/// The span of a worker, by its node name.
pub(super) fn worker(node: &str) -> Span {
    tracing::error_span!("celery_worker", worker.node = node)
}

/// The span of a task, below that of its worker.
pub(super) fn task(task: &TaskRequest) -> Span {
    tracing::error_span!("task", task.id = task.id(), task.name = task.name())
}

/// The span of a message that is not a task, as far as it can be read.
pub(super) fn refused_message(rejection: &Rejection) -> Span {
    tracing::error_span!("task", task.id = rejection.identity.id)
}
