//! Why a crontab was not understood.

/// Why a crontab was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("crontab: {field}: {reason}")]
pub struct CrontabError {
    /// The field.
    pub field: &'static str,
    /// The fault in it.
    pub reason: &'static str,
}
