//! Work on the signing workers, for the commands that change the repository.

use std::sync::Arc;
use std::time::Duration;

use fleet::Config;
use fleet::contract::{SNAPSHOT_QUEUE, TIMESTAMP_QUEUE, UPDATE_SNAPSHOT, UPDATE_TIMESTAMP, UpdateResult};
use serde::Serialize;

use crate::error::CliError;
use crate::fleet_connection::FleetConnection;

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

/// Makes the newest record of the targets-worker visible: updates the snapshot, then the timestamp.
///
/// # Errors
/// When a worker does not answer or its task fails.
pub async fn publish(fleet: &mut FleetConnection, deadline: Duration) -> Result<PublishedVersions, CliError> {
    let snapshot = fleet.call(SNAPSHOT_QUEUE, UPDATE_SNAPSHOT, &(), deadline).await?;
    let timestamp = fleet.call(TIMESTAMP_QUEUE, UPDATE_TIMESTAMP, &(), deadline).await?;
    Ok(PublishedVersions { snapshot, timestamp })
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
