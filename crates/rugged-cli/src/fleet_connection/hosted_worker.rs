//! The workers that a command can host.

use std::future::Future;
use std::pin::Pin;

use fleet::{Context, FleetError, WorkerInfo, process};

/// A worker that a command can host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostedWorker {
    /// The monitor-worker.
    Monitor,
    /// The targets-worker.
    Targets,
    /// The snapshot-worker.
    Snapshot,
    /// The timestamp-worker.
    Timestamp,
}

/// A worker that runs until its context shuts it down.
pub type WorkerFuture = Pin<Box<dyn Future<Output = Result<(), FleetError>> + Send>>;

impl HostedWorker {
    /// The whole fleet.
    pub const ALL: [Self; 4] = [Self::Monitor, Self::Targets, Self::Snapshot, Self::Timestamp];
    /// The signing roles.
    pub const SIGNING: [Self; 3] = [Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The worker's name, role and version.
    pub fn info(self) -> WorkerInfo {
        match self {
            Self::Monitor => monitor_worker::WORKER,
            Self::Targets => targets_worker::WORKER,
            Self::Snapshot => snapshot_worker::WORKER,
            Self::Timestamp => timestamp_worker::WORKER,
        }
    }

    /// Runs the worker.
    pub fn run(self, context: Context) -> WorkerFuture {
        match self {
            Self::Monitor => Box::pin(process::host(context, monitor_worker::run)),
            Self::Targets => Box::pin(process::host(context, targets_worker::run)),
            Self::Snapshot => Box::pin(process::host(context, snapshot_worker::run)),
            Self::Timestamp => Box::pin(process::host(context, timestamp_worker::run)),
        }
    }
}
