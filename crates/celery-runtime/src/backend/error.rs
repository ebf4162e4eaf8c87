//! What can go wrong between this process and a result backend.

use crate::broker::{BrokerError, PublishError};

/// Why a backend did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It cannot be reached, or did not answer in time. What was asked may have happened.
    #[error("the result backend cannot be reached: {reason}")]
    Unavailable {
        /// The last error, without credentials.
        reason: String,
    },
    /// It refuses: too large, no permission. Asking again would change nothing.
    #[error("the result backend refused: {reason}")]
    Refused {
        /// The backend's words.
        reason: String,
    },
    /// This backend cannot do that at all.
    #[error("this result backend cannot {0}")]
    Unsupported(&'static str),
    /// It was closed by this process.
    #[error("the result backend was closed")]
    Closed,
}

impl BackendError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Closed)
    }
}

impl From<PublishError> for BackendError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Closed => Self::Closed,
            PublishError::Refused { .. } | PublishError::Invalid { .. } | PublishError::Unroutable { .. } => {
                Self::Refused { reason: error.to_string() }
            }
            PublishError::Nacked { .. } | PublishError::Unavailable { .. } | PublishError::Timeout => {
                Self::Unavailable { reason: error.to_string() }
            }
        }
    }
}

impl From<BrokerError> for BackendError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Closed => Self::Closed,
            BrokerError::Unavailable { reason } => Self::Unavailable { reason },
            other => Self::Refused { reason: other.to_string() },
        }
    }
}
