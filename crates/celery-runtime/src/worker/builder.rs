//! Describing a worker.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Counters, Guard, Handler, Registered, Shared, TaskContext, Worker};
use crate::{
    Arguments, TaskError,
    broker::{SharedBroker, TaskQueue},
};

/// Why a worker cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No queue was named.
    #[error("the worker has no queue")]
    NoQueue,
    /// Two handlers for one name.
    #[error("task {0:?} is registered twice")]
    DuplicateTask(String),
}

/// What a worker is to be. See [`Worker::builder`].
pub struct WorkerBuilder {
    broker: SharedBroker,
    name: Option<String>,
    queue: Option<TaskQueue>,
    exchanges: Vec<String>,
    prefetch: u16,
    grace: Duration,
    tasks: HashMap<String, Registered>,
    lanes: HashMap<String, Arc<Semaphore>>,
    guard: Option<Guard>,
    duplicate: Option<String>,
}

impl WorkerBuilder {
    pub(super) fn new(broker: SharedBroker) -> Self {
        Self {
            broker,
            name: None,
            queue: None,
            exchanges: Vec::new(),
            prefetch: 64,
            grace: Duration::from_secs(30),
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            guard: None,
            duplicate: None,
        }
    }

    /// The node name, `name@host`. By default the queue and this machine's host name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The queue to consume, declared as Celery does.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(TaskQueue::new(queue));
        self
    }

    /// Binds the queue to one more durable direct exchange, with the queue's name as routing key, so that tasks can be told
    /// apart by [`TaskContext::exchange`].
    #[must_use]
    pub fn also_bound_to(mut self, exchange: impl Into<String>) -> Self {
        self.exchanges.push(exchange.into());
        self
    }

    /// How many tasks may be in this process unacknowledged, running or waiting; 64 by default, 0 for no limit. Tasks with a
    /// future `eta` count: one is held for up to a minute, then, if it came by the default exchange, published again and
    /// acknowledged; so more of them than this delay other tasks by a minute at most.
    #[must_use]
    pub fn prefetch(mut self, prefetch: u16) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// How long running tasks may take to finish at shutdown; 30 s by default. What has not finished then is cancelled and
    /// delivered again.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Asked before every task whether it may run; an error is the task's result.
    #[must_use]
    pub fn guard<F>(mut self, guard: F) -> Self
    where
        F: Fn(&TaskContext) -> Result<(), TaskError> + Send + Sync + 'static,
    {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Registers a handler. Handlers run concurrently, as tokio tasks: blocking work belongs into `spawn_blocking`.
    #[must_use]
    pub fn task<F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        self.register(name.into(), boxed(handler), None)
    }

    /// Registers a handler that never runs at the same time as another exclusive one of this worker. Exclusive tasks run in
    /// the order they came; one that expires while it waits is not run.
    #[must_use]
    pub fn exclusive_task<F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        self.lane_task("", name, handler)
    }

    /// As [`exclusive_task`](Self::exclusive_task), exclusive among the tasks of the lane named.
    #[must_use]
    pub fn lane_task<F, Fut>(mut self, lane: &str, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        let lane = self.lanes.entry(lane.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        self.register(name.into(), boxed(handler), Some(lane))
    }

    fn register(mut self, name: String, handler: Handler, lane: Option<Arc<Semaphore>>) -> Self {
        if self.tasks.insert(name.clone(), Registered { handler, lane }).is_some() {
            self.duplicate = Some(name);
        }
        self
    }

    /// The worker.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Worker, BuildError> {
        if let Some(name) = self.duplicate {
            return Err(BuildError::DuplicateTask(name));
        }
        let mut queue = self.queue.ok_or(BuildError::NoQueue)?;
        queue.exchanges.extend(self.exchanges);
        let name = self.name.unwrap_or_else(|| format!("{}@{}", queue.name, host_name()));
        Ok(Worker {
            shared: Arc::new(Shared {
                broker: self.broker,
                name,
                queue,
                prefetch: self.prefetch,
                grace: self.grace,
                tasks: self.tasks,
                guard: self.guard,
                counters: Arc::new(Counters::default()),
            }),
        })
    }
}

fn boxed<F, Fut>(handler: F) -> Handler
where
    F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
{
    Box::new(move |context, arguments| Box::pin(handler(context, arguments)))
}

pub(crate) fn host_name() -> String {
    hostname::get().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder").field("name", &self.name).field("queue", &self.queue).finish_non_exhaustive()
    }
}
