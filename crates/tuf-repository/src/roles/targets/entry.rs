//! A target's entry in metadata.

use std::collections::BTreeMap;

use tuf_core::sha256::Sha256;

/// The signed length and SHA-256 of a target file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEntry {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

impl TargetEntry {
    /// The entry in canonical JSON.
    pub(super) fn to_canonical(self) -> Vec<u8> {
        format!("{{\"hashes\":{{\"sha256\":\"{}\"}},\"length\":{}}}", self.sha256, self.length).into_bytes()
    }

    /// Reads the canonical JSON of a target's entry; `None` without a SHA-256.
    pub(in crate::roles) fn from_canonical(entry: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Entry {
            hashes: BTreeMap<String, String>,
            length: u64,
        }
        let entry: Entry = serde_json::from_slice(entry).ok()?;
        let sha256: Sha256 = entry.hashes.get("sha256")?.parse().ok()?;
        Some(Self { length: entry.length, sha256 })
    }
}

/// The SHA-256 in the canonical JSON of a target's entry.
pub(in crate::roles) fn sha256_of(entry: &[u8]) -> Option<Sha256> {
    #[derive(serde::Deserialize)]
    struct Entry {
        hashes: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Entry>(entry).ok()?.hashes.get("sha256")?.parse().ok()
}
