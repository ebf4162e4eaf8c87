//! The context of a task, for its handler.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use celery_protocol::{FieldTable, ResultMeta, TaskRequest, task::TaskIdentity};
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::registry::StopCause;
use crate::backend::SharedBackend;

/// How long the report of a state that is not final may delay the task.
pub(super) const STATE_TIMEOUT: Duration = Duration::from_secs(1);

/// The task a handler runs.
#[derive(Clone)]
#[non_exhaustive]
pub struct TaskContext {
    /// The task id: any text the caller chose, usually a UUID. The same on every delivery of the task.
    pub task_id: String,
    /// The name the task was called by.
    pub task_name: String,
    /// How often the task was retried.
    pub retries: u32,
    /// Whether it may have been delivered before; it may have run then, wholly or in part.
    pub redelivered: bool,
    /// The exchange it came through; empty is the default exchange, to which every broker user may write.
    pub exchange: String,
    /// Whether the broker vouches for the exchange: see [`Broker::guards_exchanges`](crate::broker::Broker::guards_exchanges).
    pub exchange_is_guarded: bool,
    /// The routing key it came with.
    pub routing_key: String,
    /// The id that matches replies to requests; usually the task id.
    pub correlation_id: String,
    /// The queue on which the caller waits, if it does.
    pub reply_to: Option<String>,
    /// When the caller gives up.
    pub expires: Option<Timestamp>,
    /// The caller's own headers.
    pub headers: FieldTable,
    pub(super) identity: TaskIdentity,
    pub(super) request: Option<Arc<TaskRequest>>,
    pub(super) backend: Option<SharedBackend>,
    pub(super) cancelled: CancellationToken,
    pub(super) cause: Arc<OnceLock<StopCause>>,
}

impl TaskContext {
    /// A context without a caller, for running a handler directly: nothing is reported, nothing cancels it.
    #[must_use]
    pub fn detached(task_name: impl Into<String>, task_id: impl Into<String>) -> Self {
        let task_id = task_id.into();
        Self {
            task_name: task_name.into(),
            retries: 0,
            redelivered: false,
            exchange: String::new(),
            exchange_is_guarded: true,
            routing_key: String::new(),
            correlation_id: task_id.clone(),
            reply_to: None,
            expires: None,
            headers: FieldTable::new(),
            identity: TaskIdentity { id: Some(task_id.clone()), ..TaskIdentity::default() },
            task_id,
            request: None,
            backend: None,
            cancelled: CancellationToken::new(),
            cause: Arc::default(),
        }
    }

    /// Reports progress to the caller: a state of the task's own, such as `"RUNNING"`, with any JSON. Best effort, and never
    /// waits longer than a second; the caller sees the newest.
    pub async fn update_state(&self, state: &str, meta: Value) {
        let Some(backend) = &self.backend else { return };
        let progress = ResultMeta::progress(&self.task_id, state, meta);
        if tokio::time::timeout(STATE_TIMEOUT, backend.progress(&self.identity, progress)).await.is_err() {
            tracing::debug!(state, "task state not reported in time");
        }
    }

    /// Cancelled when the task has to stop: the worker ends, the task was terminated, or its soft time limit has passed. Stop
    /// at the next point where that is safe and return an error. A task that does not is dropped at its next await a little
    /// later (not so after a soft limit); blocking work cannot be dropped and has to check the token.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Why the task has to stop, if it has.
    #[must_use]
    pub fn stop_cause(&self) -> Option<StopCause> {
        self.cause.get().copied()
    }

    /// The whole message of the task; `None` for a context made by [`detached`](Self::detached).
    #[must_use]
    pub fn request(&self) -> Option<&TaskRequest> {
        self.request.as_deref()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("task_id", &self.task_id)
            .field("task_name", &self.task_name)
            .field("redelivered", &self.redelivered)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
