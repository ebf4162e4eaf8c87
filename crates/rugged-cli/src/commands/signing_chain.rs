//! Work on the signing workers, for the commands that change the repository.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::Config;
use fleet::contract::{SNAPSHOT_QUEUE, TIMESTAMP_QUEUE, UPDATE_SNAPSHOT, UPDATE_TIMESTAMP, UpdateResult};
use serde::Serialize;

use crate::error::CliError;
use crate::fleet_connection::FleetConnection;

/// The pause before the workers are asked again.
const PUBLISH_RETRY: Duration = Duration::from_secs(1);

/// The time to wait for a task: `--timeout`, at least one second, else `task_timeout`.
pub fn task_deadline(config: &Config, timeout: Option<u64>) -> Duration {
    timeout.map_or(config.task_timeout, |seconds| Duration::from_secs(seconds.max(1)))
}

/// The snapshot and the timestamp that made a change visible to clients.
#[derive(Debug, Serialize)]
pub struct PublishedVersions {
    /// The result of the snapshot-worker.
    pub snapshot: UpdateResult,
    /// The result of the timestamp-worker.
    pub timestamp: UpdateResult,
}

/// Why clients do not see a change yet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NotVisibleYet {
    #[error("snapshot {snapshot} covers the commit log up to record {covered}, and the change is in record {record}")]
    RecordNotCovered { snapshot: u64, covered: u64, record: u64 },
    #[error("timestamp {timestamp} names snapshot {shown}, and the change is in snapshot {snapshot}")]
    SnapshotNotShown { timestamp: u64, shown: u64, snapshot: u64 },
    #[error("the {0} is of a version that does not answer what clients see: upgrade it")]
    WorkerTooOld(&'static str),
}

/// Makes `record` visible: updates the snapshot, then the timestamp, and again until the served timestamp names a snapshot
/// that covers the record. A worker may miss the newest file for a while (a cached lookup of a network mount).
///
/// # Errors
/// When a worker does not answer, its task fails, or clients do not see the record within `deadline`.
pub async fn publish(
    fleet: &mut FleetConnection,
    record: Option<u64>,
    deadline: Duration,
) -> Result<PublishedVersions, CliError> {
    let until = Instant::now() + deadline;
    loop {
        let snapshot = fleet.call(SNAPSHOT_QUEUE, UPDATE_SNAPSHOT, &(), deadline).await?;
        let timestamp = fleet.call(TIMESTAMP_QUEUE, UPDATE_TIMESTAMP, &(), deadline).await?;
        match check_visible(record, &snapshot, &timestamp) {
            Ok(()) => return Ok(PublishedVersions { snapshot, timestamp }),
            Err(reason) if Instant::now() + PUBLISH_RETRY >= until => {
                return Err(CliError::no_answer(reason)
                    .during("the change is signed, and clients do not see it yet")
                    .hint("the workers continue by themselves within reconcile_period; `rugged status` shows them"));
            }
            Err(_) => tokio::time::sleep(PUBLISH_RETRY).await,
        }
    }
}

/// Whether clients see `record`, as the answers of the two workers say.
fn check_visible(record: Option<u64>, snapshot: &UpdateResult, timestamp: &UpdateResult) -> Result<(), NotVisibleYet> {
    let covered = snapshot.record.ok_or(NotVisibleYet::WorkerTooOld(SNAPSHOT_QUEUE))?;
    let shown = timestamp.snapshot.ok_or(NotVisibleYet::WorkerTooOld(TIMESTAMP_QUEUE))?;
    if let Some(record) = record.filter(|record| covered < *record) {
        return Err(NotVisibleYet::RecordNotCovered { snapshot: snapshot.version, covered, record });
    }
    // Another number proves nothing, not even a higher one: two snapshot-workers may have written from different states.
    if shown != snapshot.version {
        let (timestamp, snapshot) = (timestamp.version, snapshot.version);
        return Err(NotVisibleYet::SnapshotNotShown { timestamp, shown, snapshot });
    }
    Ok(())
}

/// Runs `work` with a connection to the signing workers, and closes the connection also after an error.
///
/// # Errors
/// When the workers cannot be reached, or `work` fails.
pub async fn with_signing_workers<T>(
    config: &Arc<Config>,
    work: impl AsyncFnOnce(&mut FleetConnection) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let mut fleet = FleetConnection::to_signing_workers(config).await?;
    let result = work(&mut fleet).await;
    fleet.close().await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: u64, record: Option<u64>, snapshot: Option<u64>) -> UpdateResult {
        UpdateResult { version, changed: true, record, snapshot }
    }

    #[test]
    fn a_change_is_visible_when_the_served_timestamp_names_a_snapshot_that_covers_its_record() {
        let visible =
            |record, snapshot: UpdateResult, timestamp: UpdateResult| check_visible(record, &snapshot, &timestamp);
        assert_eq!(visible(Some(7), answer(5, Some(7), None), answer(9, None, Some(5))), Ok(()));
        assert_eq!(visible(Some(7), answer(5, Some(8), None), answer(9, None, Some(5))), Ok(()));
        assert_eq!(
            visible(Some(7), answer(5, Some(8), None), answer(9, None, Some(6))),
            Err(NotVisibleYet::SnapshotNotShown { timestamp: 9, shown: 6, snapshot: 5 }),
            "a snapshot of another process need not cover the record"
        );
        assert_eq!(visible(None, answer(5, Some(7), None), answer(9, None, Some(5))), Ok(()));
        assert_eq!(
            visible(Some(7), answer(5, Some(6), None), answer(9, None, Some(5))),
            Err(NotVisibleYet::RecordNotCovered { snapshot: 5, covered: 6, record: 7 })
        );
        assert_eq!(
            visible(Some(7), answer(5, Some(7), None), answer(9, None, Some(4))),
            Err(NotVisibleYet::SnapshotNotShown { timestamp: 9, shown: 4, snapshot: 5 })
        );
        assert_eq!(
            visible(Some(7), answer(5, None, None), answer(9, None, Some(5))),
            Err(NotVisibleYet::WorkerTooOld(SNAPSHOT_QUEUE))
        );
    }
}
