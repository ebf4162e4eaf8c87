//! Describing a worker.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use celery_protocol::{Routes, delayed::DELIVERY_EXCHANGE};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    Counters, Guard, Handler, Registered, Registry, RemoteControl, Shared, TaskContext, TaskOptions, Worker,
    WorkerEvents, outcomes::Outcomes,
};
use crate::{
    Arguments, TaskError,
    backend::{SharedBackend, rpc::RpcBackend},
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
    backend: Option<SharedBackend>,
    name: Option<String>,
    queues: Vec<TaskQueue>,
    routes: Option<Routes>,
    track_started: bool,
    result_extended: bool,
    exchanges: Vec<String>,
    prefetch: Option<u16>,
    grace: Duration,
    hold: Duration,
    tasks: HashMap<String, Registered>,
    lanes: HashMap<String, Arc<Semaphore>>,
    guard: Option<Guard>,
    duplicate: Option<String>,
    remote_control: RemoteControl,
    events: WorkerEvents,
}

impl WorkerBuilder {
    pub(super) fn new(broker: SharedBroker) -> Self {
        Self {
            broker,
            backend: None,
            name: None,
            queues: Vec::new(),
            routes: None,
            track_started: false,
            result_extended: false,
            exchanges: Vec::new(),
            prefetch: None,
            grace: Duration::from_secs(30),
            hold: Duration::from_secs(60),
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            guard: None,
            duplicate: None,
            remote_control: RemoteControl::default(),
            events: WorkerEvents::default(),
        }
    }

    /// What others may do by remote control; by default they may look and change nothing.
    #[must_use]
    pub fn remote_control(mut self, remote_control: RemoteControl) -> Self {
        self.remote_control = remote_control;
        self
    }

    /// What monitors are told without asking; by default that the worker is there.
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

    /// A queue to consume, declared as Celery does. The first one is where tasks go that nothing else is said about; see
    /// [`routes`](Self::routes).
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queues.push(TaskQueue::new(queue));
        self
    }

    /// Which queue a task goes to that this worker sends on behalf of another (a step of a chain that names none): the same
    /// table as the rest of the fleet has. By default everything goes to the first queue of this worker.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Tells STARTED when a task starts (`task_track_started`); off by default.
    #[must_use]
    pub fn track_started(mut self, track: bool) -> Self {
        self.track_started = track;
        self
    }

    /// Puts name, arguments, worker, retries and queue into each result (`result_extended`); off by default.
    #[must_use]
    pub fn result_extended(mut self, extended: bool) -> Self {
        self.result_extended = extended;
        self
    }

    /// Binds the first queue to one more durable direct exchange, with the queue's name as routing key, so that tasks can be told
    /// apart by [`TaskContext::exchange`].
    #[must_use]
    pub fn also_bound_to(mut self, exchange: impl Into<String>) -> Self {
        self.exchanges.push(exchange.into());
        self
    }

    /// Takes tasks for later that waited in the broker, by Celery's native delayed delivery ([`celery_protocol::delayed`]):
    /// Python clients send them so to a quorum queue that hangs on a topic exchange. RabbitMQ only.
    #[must_use]
    pub fn delayed_delivery(self) -> Self {
        self.also_bound_to(DELIVERY_EXCHANGE)
    }

    /// How many tasks of each queue may be in this process unacknowledged, running or waiting; 0 for no limit. By
    /// default what suits the broker: [`Broker::default_prefetch`](crate::broker::Broker::default_prefetch).
    ///
    /// A task takes its place from when the broker sends it until the broker hears that it is done with, so no more than this
    /// many are done per round trip to the broker and back, several times over: with the default, 2 ms of round trip cost
    /// short tasks little. Where tasks are long, or large, or several workers share a queue, less spreads them more evenly.
    ///
    /// Tasks with a future `eta` count, for as long as they are held: see [`hold`](Self::hold).
    #[must_use]
    pub fn prefetch(mut self, prefetch: u16) -> Self {
        self.prefetch = Some(prefetch);
        self
    }

    /// How long running tasks may take to finish at shutdown; 30 s by default. What has not finished then is cancelled and
    /// delivered again.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a task that waits for its `eta`, or for its rate limit, is held before it is published again and acknowledged;
    /// a minute by default. So more of them than [`prefetch`](Self::prefetch) delay other tasks by that at most, and none is
    /// held for so long that the broker would take it for lost. One that came by an exchange this worker may not publish to
    /// is held for 20 minutes at most and then goes back to its queue.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
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
        self.task_with(name, TaskOptions::default(), handler)
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
        let lane = options.lane.as_ref().map(|lane| {
            let place = || Arc::new(Semaphore::new(1));
            self.lanes.entry(lane.clone()).or_insert_with(place).clone()
        });
        let name = name.into();
        if self.tasks.insert(name.clone(), Registered { handler: boxed(handler), lane, options }).is_some() {
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
        let mut queues = self.queues;
        let first = queues.first_mut().ok_or(BuildError::NoQueue)?;
        first.exchanges.extend(self.exchanges);
        let host = host_name();
        let name = self.name.unwrap_or_else(|| format!("{}@{host}", first.name));
        let routes = self.routes.unwrap_or_else(|| Routes::to(first.name.as_str()));
        let limits = self.tasks.iter().map(|(task, known)| (task.clone(), known.options.limits, known.options.rate));
        let prefetch = self.prefetch.unwrap_or_else(|| self.broker.default_prefetch());
        let registry = Registry::new(name.clone(), queues, prefetch, limits);
        let backend = self.backend.unwrap_or_else(|| Arc::new(RpcBackend::new(self.broker.clone())));
        Ok(Worker {
            shared: Arc::new(Shared {
                broker: self.broker,
                backend,
                name,
                origin: format!("gen{}@{host}", std::process::id()),
                registry: Arc::new(registry),
                routes,
                grace: self.grace,
                hold: self.hold,
                tasks: self.tasks,
                track_started: self.track_started,
                result_extended: self.result_extended,
                outcomes: Outcomes::default(),
                guard: self.guard,
                counters: Arc::new(Counters::default()),
                remote_control: self.remote_control,
                events: self.events,
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
        f.debug_struct("WorkerBuilder").field("name", &self.name).field("queues", &self.queues).finish_non_exhaustive()
    }
}
