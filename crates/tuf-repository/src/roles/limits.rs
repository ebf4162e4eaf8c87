//! The largest metadata files that are read, in bytes.

/// The largest root metadata read (the ceiling of python-tuf and go-tuf).
pub const MAX_ROOT: u64 = 512_000;
/// The largest timestamp metadata read.
pub const MAX_TIMESTAMP: u64 = 64 << 10;
/// The largest snapshot metadata read.
pub const MAX_SNAPSHOT: u64 = 64 << 20;
/// The largest targets metadata read.
pub const MAX_TARGETS: u64 = 2 << 30;
