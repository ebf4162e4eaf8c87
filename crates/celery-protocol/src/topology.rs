//! Queues and exchanges exactly as Celery 5.7 declares them.
//!
//! A declaration that differs in any flag or argument from an existing one is refused by RabbitMQ
//! (406) and closes the channel of whoever comes second, Python clients included.

use std::time::Duration;

use crate::value::{FieldTable, FieldValue};

/// Name of the exchange every queue is bound to by its own name. Celery sends tasks and results
/// through it.
pub const DEFAULT_EXCHANGE: &str = "";
/// Queue tasks go to when nothing else is said.
pub const DEFAULT_QUEUE: &str = "celery";
/// How long an unused reply queue stays, Celery's `result_expires`.
pub const RESULT_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// Kind of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// Routes by equal routing key.
    Direct,
    /// Routes to every bound queue.
    Fanout,
    /// Routes by pattern.
    Topic,
}

impl ExchangeKind {
    /// The name AMQP uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
        }
    }
}

/// Arguments of an `exchange.declare`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeDeclare {
    /// Name of the exchange.
    pub name: String,
    /// Its kind.
    pub kind: ExchangeKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes when the last queue is unbound.
    pub auto_delete: bool,
    /// Extension arguments.
    pub arguments: FieldTable,
}

/// Arguments of a `queue.declare`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueDeclare {
    /// Name of the queue.
    pub name: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether only the declaring connection may use it.
    pub exclusive: bool,
    /// Whether it goes when its last consumer is cancelled.
    pub auto_delete: bool,
    /// Extension arguments.
    pub arguments: FieldTable,
}

/// Arguments of a `queue.bind`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The queue that receives.
    pub queue: String,
    /// The exchange it receives from.
    pub exchange: String,
    /// The routing key, or pattern for a topic exchange.
    pub routing_key: String,
    /// Extension arguments.
    pub arguments: FieldTable,
}

/// What worker and client both declare for a task queue, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskQueue {
    /// The direct exchange of the same name.
    pub exchange: ExchangeDeclare,
    /// The queue itself.
    pub queue: QueueDeclare,
    /// The binding of the two under the same name.
    pub binding: Binding,
}

impl TaskQueue {
    /// The declarations for task queue `name`: all durable, a classic queue without arguments.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            exchange: ExchangeDeclare {
                name: name.to_owned(),
                kind: ExchangeKind::Direct,
                durable: true,
                auto_delete: false,
                arguments: FieldTable::new(),
            },
            queue: QueueDeclare {
                name: name.to_owned(),
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: FieldTable::new(),
            },
            binding: Binding {
                queue: name.to_owned(),
                exchange: name.to_owned(),
                routing_key: name.to_owned(),
                arguments: FieldTable::new(),
            },
        }
    }
}

/// The queue an `rpc://` client receives its results on. Only the client declares it; it is named
/// by the client's id and consumed with `no_ack`.
#[must_use]
pub fn reply_queue(client_id: &str, expires: Duration) -> QueueDeclare {
    let milliseconds = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
    let mut arguments = FieldTable::new();
    arguments.insert("x-expires", FieldValue::from(milliseconds));
    QueueDeclare { name: client_id.to_owned(), durable: true, exclusive: false, auto_delete: true, arguments }
}

/// Where a message is published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

impl Route {
    /// Straight to `queue`, through the default exchange: how Celery sends tasks and results.
    #[must_use]
    pub fn to_queue(queue: impl Into<String>) -> Self {
        Self { exchange: DEFAULT_EXCHANGE.to_owned(), routing_key: queue.into() }
    }
}
