//! The worker: takes tasks from its queues and runs the handlers registered for them.
//!
//! Order of things for each task, which is what makes a crash at any point harmless: run, publish what follows it (confirmed),
//! store the result, count it in its chord, acknowledge. Whatever cannot be brought out for lack of a connection leaves the
//! task unacknowledged, so it is delivered again; a task may therefore run twice, and handlers have to be idempotent.
//!
//! | what came | what the caller gets | what the broker is told |
//! |---|---|---|
//! | a task that ran | SUCCESS or FAILURE; what follows it (callbacks, chain, group, chord, errbacks) is sent | ack |
//! | a task that is to be tried again | RETRY; the next try is published first | ack |
//! | wrong arguments | FAILURE `TypeError` | ack |
//! | a handler that panicked | FAILURE `RuntimeError` | ack |
//! | a task beyond its time limit | FAILURE `billiard.exceptions.TimeLimitExceeded` or `SoftTimeLimitExceeded` | ack |
//! | an expired, revoked or terminated task | REVOKED `celery.exceptions.TaskRevokedError` | ack |
//! | an unknown task | FAILURE `celery.exceptions.NotRegistered` | reject |
//! | content that is not JSON, or not a task | FAILURE `kombu.exceptions.ContentDisallowed`, `DecodeError` or `celery.exceptions.InvalidTaskError`, if it says whom to tell | reject |
//! | a task whose chord the result backend cannot count, or whose follow-ups make no sense | FAILURE `NotImplementedError`, before it is run: what should follow would be lost | reject |
//! | a task with an `eta` | nothing until then | held without blocking others; see [`WorkerBuilder::hold`] |
//!
//! When a task of a chain fails or is revoked, whoever waits for the end of the chain is told.

mod builder;
mod context;
mod control;
mod counters;
mod events;
mod execute;
mod handler;
mod hold;
mod monitoring;
mod options;
mod outcomes;
pub mod registry;
mod retry;
mod run;
mod settle;

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc, time::Duration};

use celery_protocol::Routes;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use self::outcomes::Outcomes;

pub(crate) use builder::host_name;
pub use builder::{BuildError, WorkerBuilder};
pub use context::TaskContext;
pub use control::RemoteControl;
pub use counters::{Counters, Snapshot};
pub use events::WorkerEvents;
pub use options::TaskOptions;
pub use registry::Registry;
pub use retry::RetryPolicy;
pub use run::WorkerError;

use crate::{
    Arguments, TaskError,
    backend::SharedBackend,
    broker::{ConnectionState, SharedBroker},
};

type Running = Pin<Box<dyn Future<Output = Result<Value, TaskError>> + Send>>;
type Guard = Box<dyn Fn(&TaskContext) -> Result<(), TaskError> + Send + Sync>;
type Handler = Box<dyn Fn(TaskContext, Arguments) -> Running + Send + Sync>;

struct Registered {
    handler: Handler,
    /// Tasks that share a lane run one at a time, in the order they came.
    lane: Option<Arc<Semaphore>>,
    options: TaskOptions,
}

/// A worker, made by [`Worker::builder`] and started by [`Worker::run`].
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    broker: SharedBroker,
    backend: SharedBackend,
    name: String,
    /// Sent as the origin of what follows a task.
    origin: String,
    registry: Arc<Registry>,
    routes: Routes,
    grace: Duration,
    hold: Duration,
    tasks: HashMap<String, Registered>,
    track_started: bool,
    result_extended: bool,
    outcomes: Outcomes,
    guard: Option<Guard>,
    counters: Arc<Counters>,
    remote_control: RemoteControl,
    events: WorkerEvents,
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

    /// What it is doing and what it was told, for whoever watches or steers it. Stays valid after the worker has ended.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        self.shared.registry.clone()
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
            .field("registry", &self.shared.registry)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}
