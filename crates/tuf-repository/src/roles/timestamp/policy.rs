//! The configuration of the timestamp role.

use crate::roles::lifetime::Lifetime;

/// The configuration of the timestamp role.
#[derive(Clone, Copy, Debug)]
pub struct TimestampPolicy {
    /// Lifetime of the timestamp.
    pub lifetime: Lifetime,
    /// Whether the repository holds the target files (and, without consistent snapshots, copies under their plain names).
    pub store_targets: bool,
}
