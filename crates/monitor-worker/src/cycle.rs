//! The result of a cycle.

use std::io;

use crate::chain::ChainError;
use crate::drop_dir::{DropName, IgnoredEntry};
use crate::wait_reason::WaitReason;

/// Why a cycle ended early. The next one can always be run: it continues from the state on disk.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The drop directory, the inbound directory or the private state cannot be used.
    #[error("file system: {0}")]
    Io(#[from] io::Error),
    /// The process is stopping; the next cycle of the next process continues.
    #[error("the worker is stopping")]
    Stopping,
    /// A step of the chain has no result.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// `add-targets` answered without a verdict for a drop of the batch.
    #[error("add-targets returned no outcome for drop {0}")]
    NoVerdict(String),
    /// The thread that does file work is gone: the process is stopping, or there is a bug.
    #[error("file work was interrupted: {0}")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// The result of a cycle.
#[derive(Debug, Default)]
pub struct CycleReport {
    /// Drops renamed from ready to processing.
    pub taken: u64,
    /// Drops published, those included that only needed their receipt again.
    pub published: u64,
    /// Drops rejected.
    pub rejected: u64,
    /// Drops left waiting, those held back included.
    pub waiting: u64,
    /// Drops held back, and why.
    pub held: Vec<(DropName, WaitReason)>,
    /// What looks like a drop and is none.
    pub ignored: Vec<IgnoredEntry>,
    /// Whether the next cycle has work that need not wait.
    pub more: bool,
    /// Whether the chain was started: the next batch keeps its distance from this one.
    pub chain_started: bool,
}

impl CycleReport {
    /// Whether a drop was taken in or ended.
    pub fn did_something(&self) -> bool {
        self.taken + self.published + self.rejected > 0
    }
}
