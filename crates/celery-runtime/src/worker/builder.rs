//! Building a worker.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use celery_protocol::{Routes, delayed::DELIVERY_EXCHANGE};
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::Span;

use super::{
    celery_worker::Worker,
    context::TaskContext,
    control::RemoteControl,
    counters::WorkerCounters,
    events::WorkerEvents,
    handler::{RegisteredTask, TaskGuard, boxed},
    options::TaskOptions,
    registry::WorkerRegistry,
    run_table::RunTable,
    worker_core::WorkerCore,
};
use crate::{
    Arguments, TaskError,
    backend::{SharedBackend, rpc::RpcBackend},
    broker::{SharedBroker, TaskQueue},
    host,
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

/// The settings and handlers of a worker to be built. See [`Worker::builder`].
pub struct WorkerBuilder {
    broker: SharedBroker,
    backend: Option<SharedBackend>,
    name: Option<String>,
    span: Option<Span>,
    queues: Vec<TaskQueue>,
    routes: Option<Routes>,
    track_started: bool,
    result_extended: bool,
    exchanges: Vec<String>,
    prefetch: Option<u16>,
    grace: Duration,
    max_hold: Duration,
    max_eta: Option<Duration>,
    max_follow_ups: usize,
    tasks: HashMap<String, RegisteredTask>,
    lanes: HashMap<String, Arc<Semaphore>>,
    guard: Option<TaskGuard>,
    duplicate: Option<String>,
    remote_control: RemoteControl,
    events: WorkerEvents,
}

impl Worker {
    /// Starts to build a worker on this broker.
    #[must_use]
    pub fn builder(broker: SharedBroker) -> WorkerBuilder {
        WorkerBuilder::new(broker)
    }
}

impl WorkerBuilder {
    fn new(broker: SharedBroker) -> Self {
        Self {
            broker,
            backend: None,
            name: None,
            span: None,
            queues: Vec::new(),
            routes: None,
            track_started: false,
            result_extended: false,
            exchanges: Vec::new(),
            prefetch: None,
            grace: Duration::from_secs(30),
            max_hold: Duration::from_secs(60),
            max_eta: None,
            max_follow_ups: usize::MAX,
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            guard: None,
            duplicate: None,
            remote_control: RemoteControl::default(),
            events: WorkerEvents::default(),
        }
    }

    /// How much remote control allows; by default it may inspect and change nothing.
    #[must_use]
    pub fn remote_control(mut self, remote_control: RemoteControl) -> Self {
        self.remote_control = remote_control;
        self
    }

    /// Which events are sent without being asked for; by default heartbeats.
    #[must_use]
    pub fn events(mut self, events: WorkerEvents) -> Self {
        self.events = events;
        self
    }

    /// Where results go; by default `rpc://` over the worker's broker.
    #[must_use]
    pub fn backend(mut self, backend: SharedBackend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The node name, `name@host`. By default the queue and this machine's host name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The span in which the worker logs; those of its tasks are below it. By default a span with the field `worker.node`, below
    /// the one in which [`Worker::run`] is called. Set it where a span names the worker already.
    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// A queue to consume, declared as Celery does. Tasks without a route go to the first one; see [`routes`](Self::routes).
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queues.push(TaskQueue::new(queue));
        self
    }

    /// The queues of tasks that this worker sends on behalf of others and that name no queue, such as the steps of a chain:
    /// the same table in the whole fleet. By default everything goes to the first queue of this worker.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Reports STARTED when a task starts (`task_track_started`); off by default.
    #[must_use]
    pub fn track_started(mut self, track: bool) -> Self {
        self.track_started = track;
        self
    }

    /// Adds name, arguments, worker, retries and queue to each result (`result_extended`); off by default.
    #[must_use]
    pub fn result_extended(mut self, extended: bool) -> Self {
        self.result_extended = extended;
        self
    }

    /// Binds the first queue to one more durable direct exchange, with the queue's name as routing key, so that
    /// [`TaskContext::exchange`] distinguishes its tasks.
    #[must_use]
    pub fn also_bound_to(mut self, exchange: impl Into<String>) -> Self {
        self.exchanges.push(exchange.into());
        self
    }

    /// Takes delayed tasks that waited in the broker, by Celery's native delayed delivery ([`celery_protocol::delayed`]):
    /// Python clients use it for a quorum queue bound to a topic exchange. RabbitMQ only.
    #[must_use]
    pub fn delayed_delivery(self) -> Self {
        self.also_bound_to(DELIVERY_EXCHANGE)
    }

    /// How many tasks of each queue may be in this process unacknowledged, running or waiting; 0 for no limit. By
    /// default [`Broker::default_prefetch`](crate::broker::Broker::default_prefetch).
    ///
    /// A task counts from when the broker sends it until the broker receives its acknowledgement, so at most this many are
    /// done per round trip to the broker: with the default, 2 ms of round trip cost short tasks little. Where tasks are long,
    /// or large, or several workers share a queue, a smaller number spreads them more evenly.
    ///
    /// Tasks with a future `eta` count, for as long as they are held: see [`hold`](Self::hold).
    #[must_use]
    pub fn prefetch(mut self, prefetch: u16) -> Self {
        self.prefetch = Some(prefetch);
        self
    }

    /// How long running tasks may take to finish at shutdown; 30 s by default. Unfinished tasks are then cancelled and
    /// redelivered.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a task that waits for its `eta`, or for its rate limit, is held before it is published again and acknowledged;
    /// a minute by default. So more of them than [`prefetch`](Self::prefetch) delay other tasks by that at most, and none is
    /// held for so long that the broker would consider it lost. A task that came through an exchange to which this worker may
    /// not publish is held for 20 minutes at most and then goes back to its queue.
    #[must_use]
    pub fn hold(mut self, longest: Duration) -> Self {
        self.max_hold = longest;
        self
    }

    /// Refuses tasks for later: a task whose `eta` (or `countdown`) is more than `tolerance` away fails immediately, with a
    /// reason, and is acknowledged. A nearer one runs immediately. So the worker holds no task for its `eta`, and tasks for
    /// later, however many, never fill the [`prefetch`](Self::prefetch) and keep other tasks out. `tolerance` is for clocks
    /// that differ.
    ///
    /// By default tasks are held ([`hold`](Self::hold)). A task of this worker that asks for a retry after a longer time
    /// than `tolerance` fails instead.
    #[must_use]
    pub fn refuse_eta(mut self, tolerance: Duration) -> Self {
        self.max_eta = Some(tolerance);
        self
    }

    /// The most tasks that may follow a task by its message: callbacks, errbacks, the rest of its chain, its chord, and the
    /// tasks within these. A task with more fails before it runs, none of them is sent, and its message is acknowledged. By
    /// default there is no limit but that of a message's size.
    ///
    /// Each step of a chain carries all later steps, so a chain of ten thousand costs fifty million.
    #[must_use]
    pub fn max_follow_ups(mut self, tasks: usize) -> Self {
        self.max_follow_ups = tasks;
        self
    }

    /// Called before every task; an error is the task's result, and the task does not run.
    #[must_use]
    pub fn guard<F>(mut self, guard: F) -> Self
    where
        F: Fn(&TaskContext) -> Result<(), TaskError> + Send + Sync + 'static,
    {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Registers a handler. Handlers run concurrently, as tokio tasks: blocking work belongs in `spawn_blocking`.
    #[must_use]
    pub fn task<F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        self.task_with(name, TaskOptions::default(), handler)
    }

    /// Registers a handler that never runs at the same time as another exclusive one of this worker. Exclusive tasks run in
    /// the order they were delivered; one that expires while it waits is not run.
    #[must_use]
    pub fn exclusive_task<F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        self.lane_task("", name, handler)
    }

    /// As [`exclusive_task`](Self::exclusive_task), exclusive among the tasks of that lane.
    #[must_use]
    pub fn lane_task<F, Fut>(self, lane: &str, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        self.task_with(name, TaskOptions::default().lane(lane), handler)
    }

    /// Registers a handler with options: retries, time limits, a rate limit and so on.
    #[must_use]
    pub fn task_with<F, Fut>(mut self, name: impl Into<String>, options: TaskOptions, handler: F) -> Self
    where
        F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        let lane = options
            .lane
            .as_ref()
            .map(|lane| self.lanes.entry(lane.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone());
        let name = name.into();
        if self.tasks.insert(name.clone(), RegisteredTask { handler: boxed(handler), lane, options }).is_some() {
            self.duplicate = Some(name);
        }
        self
    }

    /// Builds the worker.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Worker, BuildError> {
        if let Some(name) = self.duplicate {
            return Err(BuildError::DuplicateTask(name));
        }
        let mut queues = self.queues;
        let first = queues.first_mut().ok_or(BuildError::NoQueue)?;
        first.exchanges.extend(self.exchanges);
        let name = self.name.unwrap_or_else(|| format!("{}@{}", first.name, host::name()));
        let routes = self.routes.unwrap_or_else(|| Routes::to(first.name.as_str()));
        let limits = self.tasks.iter().map(|(task, known)| (task.clone(), known.options.limits, known.options.rate));
        let prefetch = self.prefetch.unwrap_or_else(|| self.broker.default_prefetch());
        let registry = WorkerRegistry::new(name.clone(), queues, prefetch, limits);
        let backend = self.backend.unwrap_or_else(|| Arc::new(RpcBackend::new(self.broker.clone())));
        Ok(Worker {
            core: Arc::new(WorkerCore {
                broker: self.broker,
                backend,
                name,
                span: self.span,
                origin: host::origin(),
                registry: Arc::new(registry),
                routes,
                grace: self.grace,
                max_hold: self.max_hold,
                max_eta: self.max_eta,
                max_follow_ups: self.max_follow_ups,
                tasks: self.tasks,
                track_started: self.track_started,
                result_extended: self.result_extended,
                runs: RunTable::default(),
                guard: self.guard,
                counters: Arc::new(WorkerCounters::default()),
                remote_control: self.remote_control,
                events: self.events,
            }),
        })
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder").field("name", &self.name).field("queues", &self.queues).finish_non_exhaustive()
    }
}
