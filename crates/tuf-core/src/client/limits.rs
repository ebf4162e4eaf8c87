//! The limits of a client.

use crate::root_chain::MAX_ROOT_BYTES;

/// The sizes and numbers up to which a client reads and follows. The defaults are those of python-tuf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Largest root, in bytes.
    pub root_bytes: u64,
    /// Most new roots that one refresh follows. It then goes on with the newest of them, as §5.3.3 says; the next refresh
    /// follows the others.
    pub root_rotations: u64,
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
            root_bytes: MAX_ROOT_BYTES,
            root_rotations: 256,
            timestamp_bytes: 16_384,
            snapshot_bytes: 2_000_000,
            targets_bytes: 5_000_000,
            delegations: 33,
            all_roles: 1 << 20,
        }
    }
}
