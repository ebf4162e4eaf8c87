//! The result of one run of a role that writes one file.

/// The result of one run of the snapshot or timestamp role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleUpdate {
    /// The present version of the role; of the timestamp, the served one.
    pub version: u64,
    /// Whether this run wrote it.
    pub changed: bool,
    /// Snapshot: the newest record that this version covers.
    pub record: Option<u64>,
    /// Timestamp: the version of the snapshot that the served timestamp names, as read back from its served name.
    pub snapshot: Option<u64>,
}
