//! Messages that are not tasks, and the callers to answer.

use jiff::Timestamp;

use crate::body::BodyError;
use crate::exception::ExceptionInfo;
use crate::result::ResultMeta;

/// Why a message is not a task.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The message does not have the form of a task.
    #[error("not a task message: {0}")]
    NotATask(String),
    /// `eta` or `expires` is not a time. Running the task nevertheless could be wrong.
    #[error("invalid {header} value {value}")]
    InvalidTime {
        /// The header.
        header: &'static str,
        /// Its value.
        value: String,
    },
}

impl DecodeError {
    /// The exception that a Python worker raises for it.
    #[must_use]
    pub fn exception(&self) -> ExceptionInfo {
        match self {
            Self::Body(error) => error.exception(),
            other => ExceptionInfo::invalid_task(other.to_string()),
        }
    }
}

/// The part of a task that is known even if its body cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskIdentity {
    /// The task id, or else the correlation id, which is the same in Celery's messages.
    pub id: Option<String>,
    /// The name of the task.
    pub task: Option<String>,
    /// The queue of the `rpc://` result.
    pub reply_to: Option<String>,
    /// The correlation id of the results.
    pub correlation_id: Option<String>,
    /// The group of which the task is a member.
    pub group: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// Whether the sender does not want the result.
    pub ignore_result: Option<bool>,
}

/// A refused message, with the ids needed to answer it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// The reason.
    #[source]
    pub error: DecodeError,
    /// The task that the message names, as far as it could be read.
    pub identity: TaskIdentity,
}

impl Rejection {
    /// The FAILURE to answer, finished at `at`; `None` if the message had neither a task id nor a
    /// correlation id.
    #[must_use]
    pub fn failure(&self, at: Timestamp) -> Option<ResultMeta> {
        let id = self.identity.id.as_deref()?;
        let meta = ResultMeta::failure(id, &self.error.exception(), None, at);
        Some(meta.with_lineage(self.identity.group.as_deref(), self.identity.parent_id.as_deref()))
    }
}
