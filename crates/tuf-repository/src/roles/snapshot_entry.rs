//! The entries of a snapshot.

use tuf_core::bins::is_bin;
use tuf_core::document::Document;
use tuf_core::names::RoleName;

use crate::log::RoleRef;

/// Bins of at most this many bytes are listed without their length. The lowest cap of a client is php-tuf's, 100,000 bytes.
const SMALL_BIN_BYTES: u64 = 64 << 10;

/// The entry of a role in canonical JSON.
///
/// It has no hash, because hashes would triple the size, and a version identifies its bytes for ever. It has the length,
/// because clients cap files of unknown length. A small bin has no length: thousands of lengths are a third of a snapshot
/// that every client downloads after every release, and no client's cap is that low.
pub(super) fn listing(role: &RoleName, entry: &RoleRef) -> String {
    if is_bin(role) && entry.length <= SMALL_BIN_BYTES {
        format!("{{\"version\":{}}}", entry.version)
    } else {
        format!("{{\"length\":{},\"version\":{}}}", entry.length, entry.version)
    }
}

/// The version that a snapshot lists for a role.
pub(super) fn version_of(snapshot: &Document, role: &RoleName) -> Option<u64> {
    listed_version(snapshot.get(&format!("{role}.json"))?)
}

/// The member `version` of an entry.
pub(super) fn listed_version(entry: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Entry {
        version: u64,
    }
    serde_json::from_slice::<Entry>(entry).ok().map(|entry| entry.version)
}
