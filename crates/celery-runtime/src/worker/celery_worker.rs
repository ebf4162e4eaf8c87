//! The handle of a worker: its counters, registry, connection and name.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::{counters::WorkerCounters, registry::WorkerRegistry, worker_core::WorkerCore};
use crate::broker::ConnectionState;

/// A worker, made by [`Worker::builder`] and started by [`Worker::run`].
pub struct Worker {
    pub(super) core: Arc<WorkerCore>,
}

impl Worker {
    /// The counters of its deliveries and tasks. They stay valid after the worker has ended.
    #[must_use]
    pub fn counters(&self) -> Arc<WorkerCounters> {
        self.core.counters.clone()
    }

    /// Its tasks, queues and limits, to watch and to steer. Stays valid after the worker has ended.
    #[must_use]
    pub fn registry(&self) -> Arc<WorkerRegistry> {
        self.core.registry.clone()
    }

    /// The state of its broker connection, as it changes.
    #[must_use]
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.core.broker.connection_state()
    }

    /// The node name, `name@host`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tasks: Vec<_> = self.core.tasks.keys().collect();
        tasks.sort();
        f.debug_struct("Worker")
            .field("name", &self.core.name)
            .field("registry", &self.core.registry)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}
