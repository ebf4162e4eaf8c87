//! What is told about tasks while they happen (`reference §4`).

use std::{fmt, sync::Arc, time::Duration};

use celery_protocol::TaskRequest;
use jiff::Timestamp;

/// Is told what happens to tasks. Called from the middle of the work: implementations hand over and return.
pub trait TaskEvents: Send + Sync + fmt::Debug {
    /// Whether anybody listens; while nobody does, no event is even made.
    fn wanted(&self) -> bool;

    /// Something happened. Must neither block nor wait.
    fn event(&self, event: TaskEvent);
}

/// One thing that happened to one task.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    /// The task's id.
    pub id: String,
    /// The task, where its message could be read.
    pub task: Option<Arc<TaskRequest>>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: TaskEventKind,
}

/// What happened, with what Celery tells about it. Texts are Python's `repr`s, cut to a bounded length.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEventKind {
    /// The worker took it from the queue.
    Received,
    /// It runs.
    Started,
    /// It returned.
    Succeeded {
        /// What it returned.
        result: String,
        /// How long it ran.
        runtime: Duration,
    },
    /// It ended with an exception.
    Failed {
        /// The exception.
        exception: String,
        /// Its traceback, if it had one.
        traceback: Option<String>,
    },
    /// It is to be tried again.
    Retried {
        /// The exception it had this time.
        exception: String,
        /// Its traceback, if it had one.
        traceback: Option<String>,
    },
    /// It was discarded.
    Revoked {
        /// Whether it ran and was stopped.
        terminated: bool,
        /// The signal it was stopped with, in Celery's words.
        signum: Option<String>,
        /// Whether it was too late for it.
        expired: bool,
    },
    /// The message was refused.
    Rejected {
        /// Whether it goes back to its queue.
        requeue: bool,
    },
    /// It was stopped with the worker and is delivered again.
    Cancelled,
}

impl TaskEventKind {
    /// The `type` on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Received => "task-received",
            Self::Started => "task-started",
            Self::Succeeded { .. } => "task-succeeded",
            Self::Failed { .. } => "task-failed",
            Self::Retried { .. } => "task-retried",
            Self::Revoked { .. } => "task-revoked",
            Self::Rejected { .. } => "task-rejected",
            Self::Cancelled => "task-cancelled",
        }
    }
}
