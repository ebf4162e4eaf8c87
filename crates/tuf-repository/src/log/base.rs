//! The base: the whole state at one record, so that readers need not read all records before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, InvalidFileName};
use tuf_core::time::UtcTime;

use super::record::{RecordedOutcome, RoleRef};

/// Records between two bases.
pub const BASE_INTERVAL: u64 = 256;
/// How long the log remembers outcomes: 7 days, in seconds.
pub const OUTCOME_RETENTION_SECONDS: i64 = 7 * 24 * 3600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    /// SHA-256 of the record of the same number.
    pub(super) digest: Sha256,
    pub(super) format: u32,
    pub(super) number: u64,
    pub(super) results: BTreeMap<String, RecordedOutcome>,
    pub(super) roles: BTreeMap<RoleName, RoleRef>,
    pub(super) time: UtcTime,
}

pub(super) fn base_name(number: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{number}.base.json"))
}
