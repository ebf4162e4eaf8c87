//! The settings of an audit: the time, the trusted root and how much it reads.

use crate::time::UtcTime;

/// How much an audit reads. A larger file is a finding, and is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCeilings {
    /// Of a root, in bytes.
    pub root_bytes: u64,
    /// Of the timestamp, in bytes.
    pub timestamp_bytes: u64,
    /// Of the snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// Of targets metadata, in bytes.
    pub targets_bytes: u64,
    /// Most roots that are followed.
    pub roots: u64,
    /// Most targets roles that are read.
    pub roles: usize,
    /// Most snapshots older than the current one that are read, newest first.
    pub older_snapshots: usize,
}

impl Default for AuditCeilings {
    fn default() -> Self {
        Self {
            root_bytes: 8 << 20,
            timestamp_bytes: 1 << 20,
            snapshot_bytes: 256 << 20,
            targets_bytes: 1 << 30,
            roots: 1 << 16,
            roles: 1 << 20,
            older_snapshots: 32,
        }
    }
}

/// The settings of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOptions {
    /// The time for which expiry is checked.
    pub now: UtcTime,
    /// The root file to trust. Without one, the repository's oldest root is trusted.
    pub trusted_root: Option<Vec<u8>>,
    /// How much is read.
    pub ceilings: AuditCeilings,
    /// Whether target files under the name that only tough uses (`HASH.dir/name`) are checked too, if they exist. This
    /// costs one request for each target in a sub-directory.
    pub tough_names: bool,
}

impl AuditOptions {
    /// All checks, as of `now`.
    #[must_use]
    pub fn at(now: UtcTime) -> Self {
        Self { now, trusted_root: None, ceilings: AuditCeilings::default(), tough_names: true }
    }
}
