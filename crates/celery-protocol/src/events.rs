//! Events that workers and clients send to monitors.
//!
//! Events of workers travel alone, under a routing key that is the type with a dot. Events of tasks travel as a list under
//! `task.multi`. No event is confirmed or stored.

use serde_json::{Map, Value};

use crate::body::json_body;
use crate::control::ControlError;
use crate::json;
use crate::limits::Limits;
use crate::message::{Message, delivery_mode};
use crate::value::FieldValue;

/// The routing key of lists of task events.
pub const TASK_MULTI: &str = "task.multi";
/// The most task events that Celery puts into one message.
pub const BATCH: usize = 24;
/// Seconds between two heartbeats; monitors show a worker that misses two as offline.
pub const HEARTBEAT_SECONDS: f64 = 2.0;

/// The state of a worker, in each of its events.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerState {
    /// The number of running tasks.
    pub active: u64,
    /// The number of tasks received since the start.
    pub processed: u64,
    /// The system's load over 1, 5 and 15 minutes.
    pub loadavg: [f64; 3],
    /// The worker's software.
    pub sw_ident: String,
    /// Its version.
    pub sw_ver: String,
    /// The operating system.
    pub sw_sys: String,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A worker started.
    WorkerOnline(WorkerState),
    /// A worker is alive.
    WorkerHeartbeat(WorkerState),
    /// A worker stops.
    WorkerOffline(WorkerState),
    /// A client sent a task.
    TaskSent {
        /// As in [`TaskReceived`](Self::TaskReceived).
        received: TaskShown,
        /// The queue of the task.
        queue: String,
        /// The exchange of the task.
        exchange: String,
        /// The routing key of the task.
        routing_key: String,
    },
    /// A worker received a task.
    TaskReceived(TaskShown),
    /// A task started.
    TaskStarted,
    /// A task succeeded.
    TaskSucceeded {
        /// The result's `repr`.
        result: String,
        /// Its run time in seconds.
        runtime: f64,
    },
    /// A task failed with an exception.
    TaskFailed {
        /// The exception's `repr`.
        exception: String,
        /// The traceback.
        traceback: Option<String>,
    },
    /// A task will be retried.
    TaskRetried {
        /// The exception's `repr`.
        exception: String,
        /// The traceback.
        traceback: Option<String>,
    },
    /// A task was revoked.
    TaskRevoked {
        /// Whether it was running.
        terminated: bool,
        /// The signal that stopped it.
        signum: Option<i64>,
        /// Whether it was expired.
        expired: bool,
    },
    /// The message of a task was rejected.
    TaskRejected {
        /// Whether it was requeued.
        requeue: bool,
    },
    /// A task was stopped with its worker.
    TaskCancelled,
}

/// The description of a task in its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskShown {
    /// Its name, or its shadow.
    pub name: String,
    /// The `repr` of its positional arguments.
    pub args: String,
    /// The `repr` of its keyword arguments.
    pub kwargs: String,
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// The number of retries so far.
    pub retries: u32,
    /// Its `eta`.
    pub eta: Option<String>,
    /// When it expires.
    pub expires: Option<String>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The kind of event.
    pub kind: EventKind,
    /// The task, for an event of a task.
    pub uuid: Option<String>,
    /// The node name of the sender.
    pub hostname: String,
    /// The sender's process.
    pub pid: u32,
    /// The sender's Lamport clock.
    pub clock: u64,
    /// How many hours the sender's local time is behind UTC.
    pub utcoffset: f64,
    /// Seconds since 1970.
    pub timestamp: f64,
}

impl EventKind {
    /// The type on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::WorkerOnline(_) => "worker-online",
            Self::WorkerHeartbeat(_) => "worker-heartbeat",
            Self::WorkerOffline(_) => "worker-offline",
            Self::TaskSent { .. } => "task-sent",
            Self::TaskReceived(_) => "task-received",
            Self::TaskStarted => "task-started",
            Self::TaskSucceeded { .. } => "task-succeeded",
            Self::TaskFailed { .. } => "task-failed",
            Self::TaskRetried { .. } => "task-retried",
            Self::TaskRevoked { .. } => "task-revoked",
            Self::TaskRejected { .. } => "task-rejected",
            Self::TaskCancelled => "task-cancelled",
        }
    }

    /// Whether it is an event of a worker, which travels alone.
    #[must_use]
    pub fn is_of_worker(&self) -> bool {
        matches!(self, Self::WorkerOnline(_) | Self::WorkerHeartbeat(_) | Self::WorkerOffline(_))
    }

    /// The routing key of the event.
    #[must_use]
    pub fn routing_key(&self) -> String {
        if self.is_of_worker() { self.as_str().replace('-', ".") } else { TASK_MULTI.to_owned() }
    }

    fn write(&self, map: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        match self {
            Self::WorkerOnline(state) | Self::WorkerHeartbeat(state) | Self::WorkerOffline(state) => {
                put("freq", Value::from(HEARTBEAT_SECONDS));
                put("active", Value::from(state.active));
                put("processed", Value::from(state.processed));
                put("loadavg", Value::from(state.loadavg.to_vec()));
                put("sw_ident", Value::from(state.sw_ident.as_str()));
                put("sw_ver", Value::from(state.sw_ver.as_str()));
                put("sw_sys", Value::from(state.sw_sys.as_str()));
            }
            Self::TaskReceived(shown) => shown.write(put),
            Self::TaskSent { received, queue, exchange, routing_key } => {
                received.write(&mut put);
                put("queue", Value::from(queue.as_str()));
                put("exchange", Value::from(exchange.as_str()));
                put("routing_key", Value::from(routing_key.as_str()));
            }
            Self::TaskStarted | Self::TaskCancelled => {}
            Self::TaskSucceeded { result, runtime } => {
                put("result", Value::from(result.as_str()));
                put("runtime", Value::from(*runtime));
            }
            Self::TaskFailed { exception, traceback } | Self::TaskRetried { exception, traceback } => {
                put("exception", Value::from(exception.as_str()));
                put("traceback", Value::from(traceback.as_deref()));
            }
            Self::TaskRevoked { terminated, signum, expired } => {
                put("terminated", Value::from(*terminated));
                put("signum", Value::from(*signum));
                put("expired", Value::from(*expired));
            }
            Self::TaskRejected { requeue } => put("requeue", Value::from(*requeue)),
        }
    }
}

impl TaskShown {
    fn write(&self, mut put: impl FnMut(&str, Value)) {
        put("name", Value::from(self.name.as_str()));
        put("args", Value::from(self.args.as_str()));
        put("kwargs", Value::from(self.kwargs.as_str()));
        put("root_id", Value::from(self.root_id.as_deref()));
        put("parent_id", Value::from(self.parent_id.as_deref()));
        put("retries", Value::from(self.retries));
        put("eta", Value::from(self.eta.as_deref()));
        put("expires", Value::from(self.expires.as_deref()));
    }
}

impl Event {
    /// The JSON object as Celery writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("hostname".to_owned(), Value::from(self.hostname.as_str()));
        map.insert("utcoffset".to_owned(), Value::from(self.utcoffset));
        map.insert("pid".to_owned(), Value::from(self.pid));
        map.insert("clock".to_owned(), Value::from(self.clock));
        if let Some(uuid) = &self.uuid {
            map.insert("uuid".to_owned(), Value::from(uuid.as_str()));
        }
        self.kind.write(&mut map);
        map.insert("timestamp".to_owned(), Value::from(self.timestamp));
        map.insert("type".to_owned(), Value::from(self.kind.as_str()));
        Value::Object(map)
    }
}

/// The message for an event of a worker, sent by [`EventKind::routing_key`].
#[must_use]
pub fn worker_message(event: &Event) -> Message {
    message(&event.hostname, &event.to_json())
}

/// The message for events of tasks, sent by [`TASK_MULTI`]. Celery sends at most [`BATCH`].
#[must_use]
pub fn task_message(hostname: &str, events: &[Event]) -> Message {
    message(hostname, &events.iter().map(Event::to_json).collect())
}

fn message(hostname: &str, body: &Value) -> Message {
    let mut message = Message::json(json::to_string(body).into_bytes(), delivery_mode::TRANSIENT);
    message.headers.insert("hostname", hostname);
    message
}

/// The events of a message, one or a list, including unknown types and members.
///
/// # Errors
/// See [`ControlError`].
pub fn decode(message: &Message, limits: &Limits) -> Result<Vec<Map<String, Value>>, ControlError> {
    let events = match json_body(message, limits)? {
        Value::Array(events) => events,
        one => vec![one],
    };
    let events = events.into_iter().map(|event| match event {
        Value::Object(event) if event.get("type").is_some_and(Value::is_string) => Ok(event),
        _ => Err(ControlError::Invalid("it is not an event")),
    });
    events.collect()
}

/// The sender in the header of an event.
#[must_use]
pub fn sender(message: &Message) -> Option<&str> {
    message.headers.get("hostname").and_then(FieldValue::as_str)
}
