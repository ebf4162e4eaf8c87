//! The result of a task that was sent.

use std::{fmt, time::Duration};

use celery_protocol::{ResultMeta, State};
use serde_json::Value;

use crate::{backend::Expectation, broker::PublishError};

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No result within the deadline. The task may have run, may run, or may have been lost with its reply.
    #[error("no result of {task} arrived in time")]
    Timeout {
        /// The task's name.
        task: String,
    },
    /// The task failed, or was refused by its worker.
    #[error("{task} failed: {exc_type}: {}", texts(.messages))]
    TaskFailed {
        /// The task's name.
        task: String,
        /// The exception's class.
        exc_type: String,
        /// The class's module.
        exc_module: Option<String>,
        /// The exception's arguments.
        messages: Vec<Value>,
        /// The worker's traceback.
        traceback: Option<String>,
    },
    /// The task was not run: it expired, or was revoked.
    #[error("{task} was not run: {reason}")]
    Revoked {
        /// The task's name.
        task: String,
        /// The reason that the worker gave.
        reason: String,
    },
    /// The task could not be sent.
    #[error("cannot send the task: {0}")]
    Publish(#[from] PublishError),
    /// The broker connection was closed by this process.
    #[error("the broker connection was closed while waiting")]
    Closed,
}

fn texts(messages: &[Value]) -> String {
    let text = |message: &Value| message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    messages.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// A task that was sent. Dropping it stops waiting and does not affect the task.
pub struct PendingResult {
    task: String,
    id: String,
    expected: Expectation,
}

impl PendingResult {
    pub(super) fn new(task: &str, id: String, expected: Expectation) -> Self {
        Self { task: task.to_owned(), id, expected }
    }

    /// The task's id.
    #[must_use]
    pub fn task_id(&self) -> &str {
        &self.id
    }

    /// Waits for the result. May be called again after a `Timeout`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get(&mut self, deadline: Duration) -> Result<Value, CallError> {
        self.get_with(deadline, |_, _| {}).await
    }

    /// As [`get`](Self::get); `progress` is called with each state the task reports before it ends; of several in quick
    /// succession only the last may be seen.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(
        &mut self,
        deadline: Duration,
        mut progress: impl FnMut(&State, &Value) + Send,
    ) -> Result<Value, CallError> {
        let newest = self.expected.newest();
        let waiting = async {
            loop {
                {
                    let newest = newest.borrow_and_update();
                    match newest.as_ref() {
                        Some(meta) if meta.state.is_ready() => return finish(&self.task, meta),
                        Some(meta) => progress(&meta.state, &meta.result),
                        None => {}
                    }
                }
                if newest.changed().await.is_err() {
                    return Err(CallError::Closed);
                }
            }
        };
        match tokio::time::timeout(deadline, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout { task: self.task.clone() }),
        }
    }
}

fn finish(task: &str, meta: &ResultMeta) -> Result<Value, CallError> {
    let task = task.to_owned();
    match meta.state {
        State::Success => Ok(meta.result.clone()),
        State::Revoked => {
            let reason =
                meta.exception().map_or_else(|| "revoked".to_owned(), |exception| texts(&exception.exc_message));
            Err(CallError::Revoked { task, reason })
        }
        _ => Err(match meta.exception() {
            Some(exception) => CallError::TaskFailed {
                task,
                exc_type: exception.exc_type,
                exc_module: exception.exc_module,
                messages: exception.exc_message,
                traceback: meta.traceback.clone(),
            },
            None => CallError::TaskFailed {
                task,
                exc_type: "Exception".to_owned(),
                exc_module: None,
                messages: vec![meta.result.clone()],
                traceback: meta.traceback.clone(),
            },
        }),
    }
}

impl fmt::Debug for PendingResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingResult").field("task", &self.task).field("id", &self.id).finish_non_exhaustive()
    }
}
