//! From files to a submission, and from a commit to the answer of `add-targets`.

use std::collections::BTreeMap;

use fleet::contract::AddTargetsResult;
use tuf_repository::roles::{CommitOutcome, Submission, TargetChange};

use crate::ingest::IngestedFile;

/// A submission of files under the request id `request`.
pub(super) fn submission(request: String, files: &[IngestedFile]) -> Submission {
    Submission {
        request,
        changes: files.iter().map(|file| (file.path.clone(), TargetChange::Put(file.entry))).collect(),
    }
}

/// The answer for a commit, without verdicts.
pub(super) fn result(commit: &CommitOutcome) -> AddTargetsResult {
    AddTargetsResult {
        record: commit.record.or_else(|| commit.applied.iter().map(|applied| applied.record).max()),
        versions: BTreeMap::clone(&commit.versions),
        bins_changed: commit.bins_changed,
        targets_added: commit.applied.iter().filter(|applied| !applied.earlier).map(|a| a.outcome.added).sum(),
        drops: Vec::new(),
        waiting: Vec::new(),
        already_done: commit.record.is_none(),
    }
}

/// The answer for a request that an earlier call committed in record `record`, without verdicts.
pub(super) fn earlier_result(record: u64) -> AddTargetsResult {
    AddTargetsResult { record: Some(record), already_done: true, ..AddTargetsResult::default() }
}
