//! The workers that a command can host.

use std::future::Future;
use std::pin::Pin;

use fleet::{Context, FleetError, WorkerInfo, WorkerRole, process};

/// A worker that runs until its context shuts it down.
pub type WorkerFuture = Pin<Box<dyn Future<Output = Result<(), FleetError>> + Send>>;

/// The name, role and purpose of the worker of `role`.
pub fn worker_info(role: WorkerRole) -> WorkerInfo {
    match role {
        WorkerRole::Monitor => monitor_worker::WORKER,
        WorkerRole::Targets => targets_worker::WORKER,
        WorkerRole::Snapshot => snapshot_worker::WORKER,
        WorkerRole::Timestamp => timestamp_worker::WORKER,
    }
}

/// Runs the worker of `role`.
pub fn run_worker(role: WorkerRole, context: Context) -> WorkerFuture {
    match role {
        WorkerRole::Monitor => Box::pin(process::host(context, monitor_worker::run)),
        WorkerRole::Targets => Box::pin(process::host(context, targets_worker::run)),
        WorkerRole::Snapshot => Box::pin(process::host(context, snapshot_worker::run)),
        WorkerRole::Timestamp => Box::pin(process::host(context, timestamp_worker::run)),
    }
}
