//! Whether clients see a batch: the end of the chain, and the only ground for a receipt that says "published".

use std::collections::HashMap;

use fleet::batch::{Batch, BatchDrop};
use fleet::contract::{AddTargetsResult, DropVerdict};

use crate::chain::{Chain, ChainError};
use crate::cycle::CycleError;
use crate::not_visible::NotVisible;

/// The versions that clients are served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VisibleVersions {
    /// The snapshot that the served timestamp names.
    pub(crate) snapshot: Option<u64>,
    /// The served timestamp.
    pub(crate) timestamp: Option<u64>,
}

/// The record of a batch, as the verdicts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchRecord {
    /// No drop was added.
    None,
    /// The newest record of its drops.
    Number(u64),
    /// The targets-worker does not name it.
    Unnamed,
}

/// The newest record that holds a drop of the batch.
///
/// # Errors
/// [`CycleError::NoVerdict`] when a drop has none and does not wait.
pub(crate) fn newest_record(batch: &Batch, added: &AddTargetsResult) -> Result<BatchRecord, CycleError> {
    let verdicts = verdicts(added);
    let mut newest = BatchRecord::None;
    let waits = |drop: &BatchDrop| added.waiting.iter().any(|w| w.name == drop.name && w.digest == drop.digest);
    for drop in batch.drops.iter().filter(|drop| !waits(drop)) {
        let verdict = verdicts.get(&(drop.name.as_str(), drop.digest.as_str()));
        let verdict = verdict.ok_or_else(|| CycleError::NoVerdict(drop.name.clone()))?;
        if verdict.rejected.is_some() {
            continue;
        }
        newest = match (newest, verdict.record) {
            (BatchRecord::Unnamed, _) | (_, None) => BatchRecord::Unnamed,
            (BatchRecord::None, Some(record)) => BatchRecord::Number(record),
            (BatchRecord::Number(other), Some(record)) => BatchRecord::Number(other.max(record)),
        };
    }
    Ok(newest)
}

/// Asks the roles to show `record` to clients, once. It is shown when the served timestamp names a snapshot that covers it:
/// a role may miss the newest file for a while (a cached lookup of a network mount), and then answers with the one before.
///
/// # Errors
/// A step of the chain has no result. The inner error says why clients do not see the record yet.
pub(crate) async fn show(
    chain: &dyn Chain,
    record: BatchRecord,
) -> Result<Result<VisibleVersions, NotVisible>, ChainError> {
    let record = match record {
        BatchRecord::None => return Ok(Ok(VisibleVersions::default())),
        BatchRecord::Unnamed => {
            let missing = "which commit record holds a drop";
            return Ok(Err(NotVisible::WorkerTooOld { queue: fleet::contract::TARGETS_QUEUE, missing }));
        }
        BatchRecord::Number(record) => record,
    };
    let snapshot = chain.update_snapshot().await?;
    let Some(covered) = snapshot.record else {
        let missing = "which commit record its snapshot covers";
        return Ok(Err(NotVisible::WorkerTooOld { queue: fleet::contract::SNAPSHOT_QUEUE, missing }));
    };
    if covered < record {
        return Ok(Err(NotVisible::RecordNotCovered { snapshot: snapshot.version, covered, record }));
    }
    let timestamp = chain.update_timestamp().await?;
    let Some(shown) = timestamp.snapshot else {
        let missing = "which snapshot the served timestamp names";
        return Ok(Err(NotVisible::WorkerTooOld { queue: fleet::contract::TIMESTAMP_QUEUE, missing }));
    };
    // Another number proves nothing, not even a higher one: two snapshot-workers may have written from different states.
    if shown != snapshot.version {
        let (timestamp, snapshot) = (timestamp.version, snapshot.version);
        return Ok(Err(NotVisible::SnapshotNotShown { timestamp, shown, snapshot }));
    }
    Ok(Ok(VisibleVersions { snapshot: Some(shown), timestamp: Some(timestamp.version) }))
}

/// The verdicts by drop name and digest.
pub(crate) fn verdicts(added: &AddTargetsResult) -> HashMap<(&str, &str), &DropVerdict> {
    added.drops.iter().map(|v| ((v.name.as_str(), v.digest.as_str()), v)).collect()
}
