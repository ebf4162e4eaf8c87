//! Messages that are not tasks, and whom to tell.

use jiff::Timestamp;

use crate::body::BodyError;
use crate::exception::ExceptionInfo;
use crate::result::ResultMeta;

/// Why a message is not a task.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The message has not the shape of a task.
    #[error("not a task message: {0}")]
    NotATask(String),
    /// `eta` or `expires` is no point in time. Running the task regardless could be wrong.
    #[error("invalid {header} value {value}")]
    InvalidTime {
        /// The header.
        header: &'static str,
        /// What it held.
        value: String,
    },
}

impl DecodeError {
    /// The exception a Python worker would raise for it.
    #[must_use]
    pub fn exception(&self) -> ExceptionInfo {
        match self {
            Self::Body(error) => error.exception(),
            other => ExceptionInfo::invalid_task(other.to_string()),
        }
    }
}

/// What is known about a task before, or without, its body being understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskIdentity {
    /// The task id, or else the correlation id, which is the same in what Celery sends.
    pub id: Option<String>,
    /// The name of the task.
    pub task: Option<String>,
    /// The queue an `rpc://` result goes to.
    pub reply_to: Option<String>,
    /// The correlation id results carry.
    pub correlation_id: Option<String>,
    /// The group the task is a member of.
    pub group: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// Whether the sender said that it does not want the result.
    pub ignore_result: Option<bool>,
}

/// A message that was refused, with what it takes to answer.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// The reason.
    #[source]
    pub error: DecodeError,
    /// Whom the message concerned, as far as it could be read.
    pub identity: TaskIdentity,
}

impl Rejection {
    /// The FAILURE to answer with, finished at `at`; `None` when the message had neither a task
    /// id nor a correlation id.
    #[must_use]
    pub fn failure(&self, at: Timestamp) -> Option<ResultMeta> {
        let id = self.identity.id.as_deref()?;
        let meta = ResultMeta::failure(id, &self.error.exception(), None, at);
        Some(meta.with_lineage(self.identity.group.as_deref(), self.identity.parent_id.as_deref()))
    }
}
