//! The worker: takes tasks from one queue and runs the handlers registered for them.
//!
//! Order of things for each task, which is what makes a crash at any point harmless: run, publish the result (confirmed),
//! acknowledge. If the result cannot be published for lack of a connection the task is not acknowledged, so it is delivered
//! and run again: handlers have to be idempotent.
//!
//! | what came | what the caller gets | what the broker is told |
//! |---|---|---|
//! | a task that ran | SUCCESS or FAILURE | ack |
//! | wrong arguments | FAILURE `TypeError` | ack |
//! | a handler that panicked | FAILURE `RuntimeError` | ack |
//! | an unknown task | FAILURE `celery.exceptions.NotRegistered` | reject |
//! | content that is not JSON, or not a task | FAILURE `kombu.exceptions.ContentDisallowed`, `DecodeError` or `celery.exceptions.InvalidTaskError`, if it says whom to tell | reject |
//! | a task with callbacks, a chain or a chord | FAILURE `NotImplementedError`, before it is run: what should follow would be lost | reject |
//! | an expired task | REVOKED `celery.exceptions.TaskRevokedError` `["expired"]` | ack |
//! | a task with an `eta` | nothing until then | held without blocking others; see [`WorkerBuilder::prefetch`] |
//!
//! Time limits in a message are not enforced; handlers bound their own work.

mod builder;
mod context;
mod counters;
mod execute;
mod results;
mod run;

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::{Semaphore, watch};

pub(crate) use builder::host_name;
pub use builder::{BuildError, WorkerBuilder};
pub use context::TaskContext;
pub use counters::{Counters, Snapshot};
pub use run::WorkerError;

use crate::{
    Arguments, TaskError,
    broker::{ConnectionState, SharedBroker, TaskQueue},
};

type Running = Pin<Box<dyn Future<Output = Result<Value, TaskError>> + Send>>;
type Guard = Box<dyn Fn(&TaskContext) -> Result<(), TaskError> + Send + Sync>;
type Handler = Box<dyn Fn(TaskContext, Arguments) -> Running + Send + Sync>;

struct Registered {
    handler: Handler,
    /// Tasks that share a lane run one at a time, in the order they came.
    lane: Option<Arc<Semaphore>>,
}

/// A worker, made by [`Worker::builder`] and started by [`Worker::run`].
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    broker: SharedBroker,
    name: String,
    queue: TaskQueue,
    prefetch: u16,
    grace: Duration,
    tasks: HashMap<String, Registered>,
    guard: Option<Guard>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Starts to describe a worker on this broker.
    #[must_use]
    pub fn builder(broker: SharedBroker) -> WorkerBuilder {
        WorkerBuilder::new(broker)
    }

    /// What it has done so far. The counters stay valid after the worker has ended.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// The state of its broker connection, as it changes.
    #[must_use]
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.broker.connection_state()
    }

    /// The node name, `name@host`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tasks: Vec<_> = self.shared.tasks.keys().collect();
        tasks.sort();
        f.debug_struct("Worker")
            .field("name", &self.shared.name)
            .field("queue", &self.shared.queue)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}
