//! The result of one run of a role that writes one file.

/// The result of one run of the snapshot or timestamp role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleUpdate {
    /// The present version of the role.
    pub version: u64,
    /// Whether this run wrote it.
    pub changed: bool,
}
