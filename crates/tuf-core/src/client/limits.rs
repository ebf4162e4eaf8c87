//! The limits of a client.

/// The sizes and numbers up to which a client reads and follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Largest timestamp, in bytes.
    pub timestamp_bytes: u64,
    /// Largest snapshot, in bytes, if the timestamp lists no length.
    pub snapshot_bytes: u64,
    /// Largest targets metadata, in bytes, if the snapshot lists no length.
    pub targets_bytes: u64,
    /// Most roles visited in the search for one target, the top-level one included.
    pub delegations: usize,
    /// Most roles visited by [`Client::all_targets`](super::Client::all_targets).
    pub all_roles: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            timestamp_bytes: 16_384,
            snapshot_bytes: 2_000_000,
            targets_bytes: 5_000_000,
            delegations: 33,
            all_roles: 1 << 20,
        }
    }
}
