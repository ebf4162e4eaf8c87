//! The last runs of a scheduler's entries, over a restart.

use std::{error::Error, fmt};

use async_trait::async_trait;
use jiff::Timestamp;

/// Why a last run was not loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LastRunsError {
    /// It cannot be read.
    #[error("cannot read the last run of {entry:?}: {source}")]
    Load {
        /// The name of the entry.
        entry: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It cannot be written.
    #[error("cannot write the last run of {entry:?}: {source}")]
    Save {
        /// The name of the entry.
        entry: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Keeps when each entry was last done.
#[async_trait]
pub trait LastRuns: Send + Sync + fmt::Debug {
    /// Whether all replicas keep it in one place, so that another one continues exactly where the last one stopped.
    ///
    /// Where each replica keeps its own, one that takes over repeats the runs due in the last minute and, if it has been back
    /// for less than two minutes, does once the runs due while it was away. A repeated run of a crontab has the same task id;
    /// an interval has a beat of its own in each replica, so there the ids differ and the minute is longer by the jitter.
    fn is_shared(&self) -> bool {
        false
    }

    /// When `entry` was last done.
    ///
    /// # Errors
    /// [`LastRunsError::Load`]. The scheduler tries again later, and does nothing before.
    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, LastRunsError>;

    /// Notes it; returns when it will survive a restart.
    ///
    /// # Errors
    /// [`LastRunsError::Save`]. The scheduler continues with the times it has in memory.
    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), LastRunsError>;
}
