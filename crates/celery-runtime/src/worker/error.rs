//! Why a worker ended otherwise than asked to.

use crate::broker::BrokerError;

/// Why a worker ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The queue cannot be consumed.
    #[error("cannot consume the queue: {0}")]
    Consume(#[from] BrokerError),
    /// This process closed the broker connection for good.
    #[error("the broker connection was closed")]
    BrokerClosed,
    /// The grace period passed before every task had finished. They are redelivered.
    #[error("{tasks} tasks had not finished within the grace period; the broker redelivers them")]
    GraceExceeded {
        /// How many were stopped.
        tasks: usize,
    },
}
