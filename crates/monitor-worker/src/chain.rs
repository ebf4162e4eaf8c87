//! What happens to a batch outside the monitor: three tasks, each awaited.

use async_trait::async_trait;
use fleet::contract::{AddTargetsResult, UpdateResult};

/// Why a step of the chain has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// This process is stopping; the step is done again after the next start.
    #[error("stopped while waiting for {0}")]
    Stopped(&'static str),
    /// The machine is at fault (broker, space, key, mount, expiry): never a reason to reject a drop.
    #[error("{task} is not possible now: {reason}")]
    Unavailable {
        /// The task.
        task: &'static str,
        /// What stands in the way.
        reason: String,
    },
    /// The targets-worker does not find the batch, or not whole: it has to be staged again.
    #[error("the targets-worker does not find the batch: {0}")]
    BatchMissing(String),
    /// The task failed for a reason of its own: a drop may be bad.
    #[error("{task} failed: {reason}")]
    Failed {
        /// The task.
        task: &'static str,
        /// What it said.
        reason: String,
    },
}

/// The chain: each step is idempotent and may be asked for again.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Signs what is in the inbound directory `batch`, a directory name; one verdict per drop.
    async fn add_targets(&self, batch: &str) -> Result<AddTargetsResult, ChainError>;
    /// Folds new records into the snapshot.
    async fn update_snapshot(&self) -> Result<UpdateResult, ChainError>;
    /// Makes the newest snapshot visible.
    async fn update_timestamp(&self) -> Result<UpdateResult, ChainError>;
    /// Waits before attempt `attempt` (from 2) of a step that failed.
    ///
    /// # Errors
    /// [`ChainError::Stopped`] when the wait was cut short.
    async fn backoff(&self, attempt: u32) -> Result<(), ChainError> {
        let _ = attempt;
        Ok(())
    }
}
