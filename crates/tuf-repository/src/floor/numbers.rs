//! The numbers that a role remembers.

use serde::{Deserialize, Serialize};
use tuf_core::sha256::Sha256;

/// The newest record of the commit log that a role has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFloor {
    /// SHA-256 of the record.
    pub digest: Sha256,
    /// Its number.
    pub number: u64,
}

/// Numbers below which a role never signs; 0 before it has seen any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Root version.
    #[serde(default)]
    pub root: u64,
    /// Newest commit record.
    #[serde(default)]
    pub record: Option<RecordFloor>,
    /// Snapshot version.
    #[serde(default)]
    pub snapshot: u64,
    /// Timestamp version.
    #[serde(default)]
    pub timestamp: u64,
    /// Highest version of any role of the targets keys; 0 where it is unknown.
    #[serde(default)]
    pub role_version: u64,
    /// Time of the role's last signature, in seconds since the Unix epoch; 0 where it is unknown.
    #[serde(default)]
    pub signed: i64,
}
