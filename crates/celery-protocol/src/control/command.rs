//! The methods of remote control and their arguments.

use serde_json::{Map, Value};

use super::{RateLimit, RateLimitError};
use crate::python::repr;

/// All methods of Celery 5.7, by their primary names.
pub const METHODS: [&str; 32] = [
    "active",
    "active_queues",
    "add_consumer",
    "autoscale",
    "cancel_consumer",
    "clock",
    "conf",
    "disable_events",
    "election",
    "enable_events",
    "heartbeat",
    "hello",
    "memdump",
    "memsample",
    "objgraph",
    "ping",
    "pool_grow",
    "pool_restart",
    "pool_shrink",
    "query_task",
    "rate_limit",
    "registered",
    "report",
    "reserved",
    "revoke",
    "revoke_by_stamped_headers",
    "revoked",
    "scheduled",
    "shutdown",
    "stats",
    "terminate",
    "time_limit",
];

/// The tasks to revoke, and whether running ones are stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Revocation<T> {
    /// The task ids, or the stamps.
    pub what: T,
    /// Whether running tasks are stopped too.
    pub terminate: bool,
    /// The signal, for a worker with processes; `SIGTERM` by default.
    pub signal: String,
}

/// A method with its arguments.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// `{"ok": "pong"}`.
    Ping,
    /// The running tasks.
    Active {
        /// CommandArguments as text.
        safe: bool,
    },
    /// The tasks that wait for a free place.
    Reserved,
    /// The tasks that wait for their `eta`.
    Scheduled,
    /// The state of some tasks.
    QueryTask {
        /// Their ids.
        ids: Vec<String>,
    },
    /// The names of the tasks the worker has.
    Registered {
        /// Attributes to show with each.
        items: Vec<String>,
    },
    /// The ids of revoked tasks.
    Revoked,
    /// Counts, the broker, the pool, resources.
    Stats,
    /// The queues consumed.
    ActiveQueues,
    /// The configuration, secrets masked.
    Conf,
    /// Versions and configuration as text.
    Report,
    /// The Lamport clock.
    Clock,
    /// Python's memory debugging, which has no meaning here.
    Memory,
    /// A worker starts and asks the others for their revoked ids.
    Hello {
        /// Its node name.
        from_node: String,
        /// Its revoked ids.
        revoked: Vec<String>,
    },
    /// Revoke tasks by id.
    Revoke(Revocation<Vec<String>>),
    /// Revoke tasks by stamp.
    RevokeByStampedHeaders(Revocation<Map<String, Value>>),
    /// Set the rate limit of a task.
    RateLimit {
        /// The task's name.
        task_name: String,
        /// The limit, or why it is invalid.
        limit: Result<RateLimit, RateLimitError>,
    },
    /// Set the time limits of a task.
    TimeLimit {
        /// The task's name.
        task_name: String,
        /// The hard limit in seconds.
        hard: Option<f64>,
        /// The soft limit in seconds.
        soft: Option<f64>,
    },
    /// Consume one more queue.
    AddConsumer {
        /// Its name.
        queue: String,
        /// Its exchange; by default the one of its own name.
        exchange: Option<String>,
        /// The exchange's kind.
        exchange_type: String,
        /// The binding's routing key.
        routing_key: Option<String>,
    },
    /// Stop consuming a queue.
    CancelConsumer {
        /// Its name.
        queue: String,
    },
    /// Run more tasks at a time.
    PoolGrow {
        /// How many more.
        n: u32,
    },
    /// Run fewer tasks at a time.
    PoolShrink {
        /// How many fewer.
        n: u32,
    },
    /// Restart the pool.
    PoolRestart,
    /// Set the limits of autoscaling.
    Autoscale,
    /// Send events about tasks.
    EnableEvents,
    /// Stop sending events about tasks.
    DisableEvents,
    /// Send a heartbeat now.
    Heartbeat,
    /// Shut down after the running tasks.
    Shutdown,
    /// An election of gossip; ignored.
    Election,
}

/// Why a request is not a command. Displayed as Python shows the exception it raises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The method does not exist.
    #[error("KeyError({})", repr(&Value::from(.0.as_str())))]
    Unknown(String),
    /// CommandArguments are missing or of a wrong type.
    #[error("TypeError({})", repr(&Value::from(.0.as_str())))]
    CommandArguments(String),
}

impl Command {
    /// The command of that name, or alias, with these arguments; unknown arguments are ignored.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn parse(method: &str, arguments: &Map<String, Value>) -> Result<Self, CommandError> {
        let arguments = CommandArguments { method, given: arguments };
        Ok(match method {
            "ping" => Self::Ping,
            "active" | "dump_active" => Self::Active { safe: arguments.flag("safe") },
            "reserved" | "dump_reserved" => Self::Reserved,
            "scheduled" | "dump_schedule" => Self::Scheduled,
            "query_task" => Self::QueryTask { ids: arguments.required("ids", texts)? },
            "registered" | "dump_tasks" => {
                let mut items = arguments.optional("taskinfoitems", texts)?.unwrap_or_default();
                items.retain(|item| !item.starts_with('_'));
                Self::Registered { items }
            }
            "revoked" | "dump_revoked" => Self::Revoked,
            "stats" => Self::Stats,
            "active_queues" => Self::ActiveQueues,
            "conf" | "dump_conf" => Self::Conf,
            "report" => Self::Report,
            "clock" => Self::Clock,
            "memsample" | "memdump" | "objgraph" => Self::Memory,
            "hello" => Self::Hello {
                from_node: arguments.required("from_node", text)?,
                revoked: arguments.optional("revoked", ids)?.unwrap_or_default(),
            },
            "revoke" => Self::Revoke(arguments.revocation(arguments.required("task_id", texts)?)?),
            "terminate" => {
                arguments.required("signal", text)?;
                let ids = arguments.required("task_id", texts)?;
                Self::Revoke(Revocation { terminate: true, ..arguments.revocation(ids)? })
            }
            "revoke_by_stamped_headers" => {
                Self::RevokeByStampedHeaders(arguments.revocation(arguments.required("headers", stamps)?)?)
            }
            "rate_limit" => Self::RateLimit {
                task_name: arguments.required("task_name", text)?,
                limit: RateLimit::parse(arguments.required("rate_limit", Some)?),
            },
            "time_limit" => Self::TimeLimit {
                // Python looks up the empty name and finds no task.
                task_name: arguments.optional("task_name", text)?.unwrap_or_default(),
                hard: arguments.optional("hard", seconds)?,
                soft: arguments.optional("soft", seconds)?,
            },
            "add_consumer" => Self::AddConsumer {
                queue: arguments.required("queue", text)?,
                exchange: arguments.optional("exchange", text)?,
                exchange_type: arguments.optional("exchange_type", text)?.unwrap_or_else(|| "direct".to_owned()),
                routing_key: arguments.optional("routing_key", text)?,
            },
            "cancel_consumer" => Self::CancelConsumer { queue: arguments.required("queue", text)? },
            "pool_grow" => Self::PoolGrow { n: arguments.optional("n", count)?.unwrap_or(1) },
            "pool_shrink" => Self::PoolShrink { n: arguments.optional("n", count)?.unwrap_or(1) },
            "pool_restart" => Self::PoolRestart,
            "autoscale" => Self::Autoscale,
            "enable_events" => Self::EnableEvents,
            "disable_events" => Self::DisableEvents,
            "heartbeat" => Self::Heartbeat,
            "shutdown" => Self::Shutdown,
            "election" => Self::Election,
            other => return Err(CommandError::Unknown(other.to_owned())),
        })
    }

    /// Whether the command changes the work of a worker, so that a worker may refuse it. Switching events on or off does not
    /// count, because every monitor does it.
    #[must_use]
    pub fn changes_state(&self) -> bool {
        match self {
            Self::Revoke(_)
            | Self::RevokeByStampedHeaders(_)
            | Self::RateLimit { .. }
            | Self::TimeLimit { .. }
            | Self::AddConsumer { .. }
            | Self::CancelConsumer { .. }
            | Self::PoolGrow { .. }
            | Self::PoolShrink { .. }
            | Self::PoolRestart
            | Self::Autoscale
            | Self::Shutdown => true,
            Self::Ping
            | Self::Active { .. }
            | Self::Reserved
            | Self::Scheduled
            | Self::QueryTask { .. }
            | Self::Registered { .. }
            | Self::Revoked
            | Self::Stats
            | Self::ActiveQueues
            | Self::Conf
            | Self::Report
            | Self::Clock
            | Self::Memory
            | Self::Hello { .. }
            | Self::EnableEvents
            | Self::DisableEvents
            | Self::Heartbeat
            | Self::Election => false,
        }
    }
}

struct CommandArguments<'a> {
    method: &'a str,
    given: &'a Map<String, Value>,
}

impl<'a> CommandArguments<'a> {
    fn required<T>(&self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, CommandError> {
        match self.given.get(name) {
            Some(value) => read(value).ok_or_else(|| self.wrong(name)),
            None => Err(CommandError::CommandArguments(format!(
                "{}() missing 1 required positional argument: '{name}'",
                self.method
            ))),
        }
    }

    fn optional<T>(&self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, CommandError> {
        match self.given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(name)),
        }
    }

    fn wrong(&self, name: &str) -> CommandError {
        CommandError::CommandArguments(format!("{}() got a value it cannot use for '{name}'", self.method))
    }

    fn flag(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
    }

    fn revocation<T>(&self, what: T) -> Result<Revocation<T>, CommandError> {
        let signal = self.optional("signal", signal)?.unwrap_or_else(|| "SIGTERM".to_owned());
        Ok(Revocation { what, terminate: self.flag("terminate"), signal })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A text or a list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(values) => values.iter().map(text).collect(),
        _ => None,
    }
}

/// Ids as a list (5.7), or as the keys of an object of times (up to 5.6).
fn ids(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Object(times) => Some(times.keys().cloned().collect()),
        other => texts(other),
    }
}

/// Stamps as an object, or as a list of `name=value`.
fn stamps(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(stamps) => Some(stamps.clone()),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| {
                let (name, value) = pair.as_str()?.split_once('=')?;
                Some((name.to_owned(), Value::from(value)))
            })
            .collect(),
        _ => None,
    }
}

/// A name, or a number.
fn signal(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
}

fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}
