//! Why a scheduler was not made.

/// Why a scheduler was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// Two entries have one name.
    #[error("the schedule has two entries named {0:?}")]
    DuplicateEntry(String),
    /// An entry sends tasks, or the scheduler is exclusive, and there is no client.
    #[error("the schedule has no client, which it needs to send tasks or to be exclusive")]
    NoClient,
}
