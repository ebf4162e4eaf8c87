//! Requests to the targets role, and their results.

use std::collections::BTreeMap;

use tuf_core::names::TargetPath;
use tuf_core::sha256::Sha256;

use super::entry::TargetEntry;
use crate::log::RequestOutcome;

/// One change to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// Adds or replaces the target.
    Put(TargetEntry),
    /// Removes the target. With a hash: only if the target still has it.
    Remove {
        /// The SHA-256 that the caller expects.
        expected: Option<Sha256>,
    },
}

/// A request, such as a drop or a removal. It is applied whole or not at all, and once.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The request's id. It makes the request idempotent: a request in a record is answered from the record.
    pub request: String,
    /// The changes in order. Of two changes to one target the later wins.
    pub changes: Vec<(TargetPath, TargetChange)>,
}

/// A request and its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRequest {
    /// The request's id.
    pub request: String,
    /// Its effect.
    pub outcome: RequestOutcome,
    /// Number of the record that holds it.
    pub record: u64,
    /// Whether an earlier call applied it.
    pub earlier: bool,
}

/// The result of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitOutcome {
    /// Number of the record that this call made, if any.
    pub record: Option<u64>,
    /// New version per changed role, bins excepted.
    pub versions: BTreeMap<String, u64>,
    /// Number of bins changed.
    pub bins_changed: u64,
    /// One per submission, in order.
    pub applied: Vec<AppliedRequest>,
}
