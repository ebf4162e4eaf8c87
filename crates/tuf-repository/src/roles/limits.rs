//! The largest metadata files that are read, in bytes. The limit of a root is [`tuf_core::root_chain::MAX_ROOT_BYTES`].

/// The largest timestamp metadata read.
pub const MAX_TIMESTAMP: u64 = 64 << 10;
/// The largest timestamp metadata written, which is the largest that python-tuf reads: a client knows no length in advance.
pub(super) const MAX_TIMESTAMP_WRITTEN: u64 = 16_384;
/// The largest snapshot metadata read.
pub const MAX_SNAPSHOT: u64 = 64 << 20;
/// The largest targets metadata read.
pub const MAX_TARGETS: u64 = 2 << 30;
