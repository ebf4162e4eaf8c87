//! The progress of an audit.

/// A stage of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditStage {
    /// Reading roots; their number is not known in advance.
    Roots,
    /// Reading targets metadata.
    Roles,
    /// Searching for every target as a client does.
    Search,
    /// Hashing target files.
    TargetFiles,
}

/// The progress of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditProgress {
    /// The current stage.
    pub stage: AuditStage,
    /// Files or targets done in this stage.
    pub done: u64,
    /// Files or targets in this stage; 0 if unknown.
    pub total: u64,
}
