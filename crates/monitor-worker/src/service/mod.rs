//! The monitor as a worker: its tasks, its loops, its status and metrics.

mod callers;
mod drop_loop;
mod drop_watch;
mod last_runs;
mod monitor_service;
mod refresh_expiry;
mod schedule;
mod tasks;

use std::sync::Arc;

use celery_runtime::client::Client;
use fleet::contract::MONITOR_QUEUE;
use fleet::{Context, FleetError, WorkerInfo, WorkerRole};
use tracing::Instrument as _;

use self::monitor_service::MonitorService;

/// The name and purpose of this worker.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: MONITOR_QUEUE,
    role: WorkerRole::Monitor,
    about: "Takes in releases from the drop directory and drives the signing roles; has no keys",
};

/// Runs the worker until `context.shutdown`: the tasks `ping`, `status`, `find-new-targets`, `pause-processing`,
/// `resume-processing` and `refresh-expiry`, and the loop that takes drops in.
///
/// # Errors
/// The worker cannot be built, or stops serving its queue before the shutdown.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let client = Client::new(context.broker.clone()).await?;
    let client = fleet::tasks::for_repository(client, &context.config);
    let service = Arc::new(MonitorService::new(context.clone(), client));
    let builder = tasks::add_tasks(fleet::tasks::builder(&context), &service);
    let watching = tokio::spawn(service.clone().watch_drops().instrument(context.span.clone()));
    let scheduling = tokio::spawn(service.clone().keep_schedule().instrument(context.span.clone()));
    let served = fleet::tasks::serve(&context, builder).await;
    let watched = watching.await;
    served?;
    scheduling.await.map_err(|source| FleetError::LoopEnded { name: "schedule", source })?;
    watched.map_err(|source| FleetError::LoopEnded { name: "intake", source })
}
