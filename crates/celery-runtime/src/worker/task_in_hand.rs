//! The task in hand.

use std::sync::Arc;

use celery_protocol::{TaskRequest, task::TaskIdentity};
use tokio_util::sync::CancellationToken;

use super::{
    registry::{TaskEvent, TaskEventKind, TaskTracker},
    run_table::RunId,
    worker_core::WorkerCore,
};
use crate::{broker::Delivery, clock};

/// One delivered task, from its receipt to its settlement.
pub(super) struct TaskInHand<'a> {
    pub core: &'a Arc<WorkerCore>,
    pub delivery: &'a Arc<Delivery>,
    pub task: &'a Arc<TaskRequest>,
    pub tracker: &'a TaskTracker,
    /// The addressee of its result, with the task's own settings applied.
    pub identity: TaskIdentity,
    /// Cancelled when the worker stops taking tasks.
    pub stopping: &'a CancellationToken,
    /// Cancelled when running handlers have to stop.
    pub cancelled: &'a CancellationToken,
}

impl TaskInHand<'_> {
    pub fn run_id(&self) -> RunId {
        (self.task.id().to_owned(), self.task.headers.retries)
    }

    /// Whether an earlier delivery of this message may have run.
    pub fn may_have_run(&self) -> bool {
        self.delivery.redelivered || self.task.is_restored()
    }

    /// Sends an event about this task to the listener, if it wants any.
    pub fn event(&self, kind: TaskEventKind) {
        self.core.registry.events.send(|| TaskEvent {
            id: self.task.id().to_owned(),
            task: Some(self.task.clone()),
            at: clock::now(),
            kind,
        });
    }
}
