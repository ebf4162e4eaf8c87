//! Limits of a drop and its files.

use tuf_core::names::MAX_COMPONENT_BYTES;

/// Longest first or last component of a target path, in bytes. A hash of 64 digits and a dot precede the last component for
/// clients of consistent snapshots, and the first one for clients of tough.
pub(crate) const MAX_PREFIXED_BYTES: usize = MAX_COMPONENT_BYTES - 65;
/// Largest target file: 1 TiB, far beyond any release.
pub const MAX_TARGET_BYTES: u64 = 1 << 40;
