//! Events about tasks.

use std::{fmt, sync::Arc, time::Duration};

use celery_protocol::TaskRequest;
use jiff::Timestamp;

/// A listener to events about tasks. Called from the middle of the work: implementations hand the event over and return.
pub trait TaskEvents: Send + Sync + fmt::Debug {
    /// Whether events are wanted now; while they are not, none is made.
    fn wanted(&self) -> bool;

    /// Takes an event. Must neither block nor wait.
    fn event(&self, event: TaskEvent);
}

/// An event about one task.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    /// The task's id.
    pub id: String,
    /// The task, where its message could be read.
    pub task: Option<Arc<TaskRequest>>,
    /// When it happened.
    pub at: Timestamp,
    /// The kind of event.
    pub kind: TaskEventKind,
}

/// The kind of an event, with the fields that Celery sends. Texts are Python's `repr`s, cut to a bounded length.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEventKind {
    /// The worker took it from the queue.
    Received,
    /// It started to run.
    Started,
    /// It returned.
    Succeeded {
        /// The value it returned.
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
    /// It is retried.
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
        /// Whether it had expired.
        expired: bool,
    },
    /// The message was rejected.
    Rejected {
        /// Whether it goes back to its queue.
        requeue: bool,
    },
    /// It was stopped with the worker and is redelivered.
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
