//! The record of one batch, and the files it lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, InvalidFileName};
use tuf_core::time::UtcTime;

/// Version of the format of records and bases. A newer format is refused, because a guess would lose its meaning.
pub const LOG_FORMAT: u32 = 2;
/// The format of every file that a version before 2 can read too.
pub(super) const PLAIN_LOG_FORMAT: u32 = 1;
/// The largest record or base read.
pub(super) const MAX_LOG_FILE_BYTES: u64 = 256 << 20;

/// One version of one role, as a record lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRef {
    /// When it expires.
    pub expires: UtcTime,
    /// Length of the file in bytes.
    pub length: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// Its version.
    pub version: u64,
}

/// The effect of one request (a drop, a removal). The log keeps it, so that a second delivery is answered from the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOutcome {
    /// Targets added or replaced.
    pub added: u64,
    /// Targets of a removal that did not exist.
    pub not_found: u64,
    /// Targets removed.
    pub removed: u64,
}

/// The outcome of a request with the record that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOutcome {
    /// The effect of the request.
    pub outcome: RequestOutcome,
    /// Number of the record.
    pub record: u64,
    /// Time of the record.
    pub time: UtcTime,
}

/// One commit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) format: u32,
    /// Number of the record.
    pub number: u64,
    /// Digest of the record before it; absent in the first.
    pub previous: Option<Sha256>,
    /// Outcome per request id.
    pub results: BTreeMap<String, RequestOutcome>,
    /// Number of the next record, where it is not `number + 1`: the numbers in between belong to records that a restored
    /// backup has lost. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<u64>,
    /// Every role the batch changed.
    pub roles: BTreeMap<RoleName, RoleRef>,
    /// When the targets role made the record.
    pub time: UtcTime,
}

pub(super) fn record_name(number: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{number}.record.json"))
}
