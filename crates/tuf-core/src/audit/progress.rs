//! How far an audit is.

/// What an audit is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditStage {
    /// Reading roots; their number is not known beforehand.
    Roots,
    /// Reading targets metadata.
    Roles,
    /// Finding every target as a client does.
    Search,
    /// Hashing target files.
    TargetFiles,
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditProgress {
    /// What it is busy with.
    pub stage: AuditStage,
    /// How many are done.
    pub done: u64,
    /// Of how many; 0 if unknown.
    pub total: u64,
}
