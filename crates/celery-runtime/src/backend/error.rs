//! Errors between this process and a result backend.

use crate::{
    broker::{BrokerError, PublishError},
    redis::RequestError,
};

/// Why a request to a result backend failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The backend cannot be reached, or did not answer in time. It may have carried out the request.
    #[error("the result backend cannot be reached: {reason}")]
    Unavailable {
        /// The last error, without credentials.
        reason: String,
    },
    /// The backend refused the request (too large, no permission), and would refuse it again.
    #[error("the result backend refused: {reason}")]
    Refused {
        /// The text of the backend.
        reason: String,
    },
    /// This kind of backend cannot do it.
    #[error("this result backend cannot {0}")]
    Unsupported(&'static str),
    /// This process closed the backend.
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

impl From<RequestError> for BackendError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Closed => Self::Closed,
            RequestError::Unavailable { reason, .. } => Self::Unavailable { reason },
            RequestError::Refused { reason } => Self::Refused { reason },
        }
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
