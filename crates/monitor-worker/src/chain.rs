//! The chain: the three tasks of the signing roles that publish a batch.

use async_trait::async_trait;
use fleet::contract::{AddTargetsResult, UpdateResult};

use crate::not_visible::NotVisible;

/// Why a step of the chain has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// This process is stopping; the step is repeated after the next start.
    #[error("stopped while waiting for {0}")]
    Stopped(&'static str),
    /// The batch is missing or damaged, so it has to be staged again.
    #[error("the targets-worker cannot find the batch: {0}")]
    BatchMissing(String),
    /// The task failed through no fault of the machine: a drop may be bad.
    #[error("{task} failed: {reason}")]
    Failed {
        /// The task.
        task: &'static str,
        /// The text of the failure.
        reason: String,
    },
}

/// The chain. Each step is idempotent and may be repeated.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Signs the drops in the inbound directory's `batch`, a directory name; answers with one verdict per drop.
    async fn add_targets(&self, batch: &str) -> Result<AddTargetsResult, ChainError>;
    /// Folds new records into the snapshot; answers which record it covers.
    async fn update_snapshot(&self) -> Result<UpdateResult, ChainError>;
    /// Makes the newest snapshot visible; answers which snapshot clients are served.
    async fn update_timestamp(&self) -> Result<UpdateResult, ChainError>;
    /// Waits before attempt `attempt` (from 2) of a step that failed.
    ///
    /// # Errors
    /// [`ChainError::Stopped`] when the wait was cut short.
    async fn backoff(&self, attempt: u32) -> Result<(), ChainError> {
        let _ = attempt;
        Ok(())
    }
    /// Waits before attempt `attempt` (from 2) of a chain whose roles have answered while clients do not see the batch yet.
    ///
    /// # Errors
    /// [`ChainError::Stopped`] when the wait was cut short.
    async fn wait_until_visible(&self, reason: &NotVisible, attempt: u32) -> Result<(), ChainError> {
        let _ = reason;
        self.backoff(attempt).await
    }
}
