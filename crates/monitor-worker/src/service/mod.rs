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
use fleet::{Context, FleetError, WorkerInfo};
use tracing::Instrument as _;

use self::monitor_service::MonitorService;

/// The name and purpose of this worker.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: MONITOR_QUEUE,
    role: "monitor",
    about: "Takes releases out of the drop directory and drives the signing roles; has no keys",
};

/// Runs the worker until `context.shutdown`: the tasks `ping`, `status`, `find-new-targets`, `pause-processing`,
/// `resume-processing` and `refresh-expiry`, and the loop that takes drops in.
///
/// # Errors
/// The worker cannot be built, or stops serving its queue before the shutdown.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let client = Client::new(context.broker.clone()).await.map_err(|error| FleetError::Broker(error.to_string()))?;
    let client = fleet::tasks::for_repository(client, &context.config);
    let service = Arc::new(MonitorService::new(context.clone(), client));
    let builder = fleet::tasks::builder(&context, MONITOR_QUEUE);
    let worker = fleet::tasks::build(tasks::add_tasks(builder, &service))?;
    let shutdown = context.shutdown.clone();
    let watching = tokio::spawn(service.clone().watch_drops().instrument(context.span.clone()));
    let scheduling = tokio::spawn(service.clone().keep_schedule().instrument(context.span.clone()));
    let served = worker.run(shutdown.clone()).await;
    let asked = shutdown.is_cancelled();
    // The loops end with the serving, however it ended: a worker that no task reaches has to be restarted.
    shutdown.cancel();
    let watched = watching.await;
    match served {
        Err(error) if asked => tracing::debug!(%error, "serving the queue ended with an error during the shutdown"),
        Err(error) => {
            return Err(FleetError::Broker(format!("{MONITOR_QUEUE} cannot be served: {error}")));
        }
        Ok(()) if !asked => {
            return Err(FleetError::Internal(format!("{MONITOR_QUEUE} is no longer served")));
        }
        Ok(()) => {}
    }
    let ended = |part: &str, error: &dyn std::fmt::Display| FleetError::Internal(format!("{part} ended: {error}"));
    scheduling.await.map_err(|error| ended("the schedule", &error))?;
    watched.map_err(|error| ended(&format!("the loop of {MONITOR_QUEUE}"), &error))
}
