//! Queues and exchanges exactly as Celery 5.7 declares them.
//!
//! RabbitMQ refuses a declaration that differs in any flag or argument from an existing one (406),
//! and closes the channel of the second client, Python's included.

use std::time::Duration;

use crate::value::{FieldTable, FieldValue};

/// The name of the exchange to which every queue is bound by its own name. Celery sends tasks and
/// results through it.
pub const DEFAULT_EXCHANGE: &str = "";
/// The default queue of tasks.
pub const DEFAULT_QUEUE: &str = "celery";
/// The fanout exchange of control requests.
pub const CONTROL_EXCHANGE: &str = "celery.pidbox";
/// The direct exchange of answers to control requests.
pub const CONTROL_REPLY_EXCHANGE: &str = "reply.celery.pidbox";
/// The topic exchange of events.
pub const EVENT_EXCHANGE: &str = "celeryev";
/// How long an unused reply queue is kept: Celery's `result_expires`.
pub const RESULT_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// The kind of an exchange.
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
    /// Whether it is deleted with its last binding.
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
    /// Whether it is deleted with its last consumer.
    pub auto_delete: bool,
    /// Extension arguments.
    pub arguments: FieldTable,
}

/// Arguments of a `queue.bind`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The queue that receives.
    pub queue: String,
    /// The exchange from which it receives.
    pub exchange: String,
    /// The routing key, or pattern for a topic exchange.
    pub routing_key: String,
    /// Extension arguments.
    pub arguments: FieldTable,
}

/// The declarations of worker and client for a task queue, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskQueueDeclaration {
    /// The direct exchange of the same name.
    pub exchange: ExchangeDeclare,
    /// The queue itself.
    pub queue: QueueDeclare,
    /// The binding of the two under the same name.
    pub binding: Binding,
}

impl TaskQueueDeclaration {
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

/// The queue on which an `rpc://` client receives its results. Only the client declares it; its name
/// is the client's id, and it is consumed with `no_ack`.
#[must_use]
pub fn reply_queue(client_id: &str, expires: Duration) -> QueueDeclare {
    let milliseconds = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
    let mut arguments = FieldTable::new();
    arguments.insert("x-expires", FieldValue::from(milliseconds));
    QueueDeclare { name: client_id.to_owned(), durable: true, exclusive: false, auto_delete: true, arguments }
}

/// A queue for broadcasts, with its exchange and its binding, in the order of declaration. It belongs to one connection and is
/// consumed with `no_ack`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mailbox {
    /// The exchange of the broadcasts.
    pub exchange: ExchangeDeclare,
    /// The queue itself.
    pub queue: QueueDeclare,
    /// The binding of the two.
    pub binding: Binding,
}

impl Mailbox {
    /// The mailbox in which the worker `node` receives control requests.
    #[must_use]
    pub fn control_requests(node: &str) -> Self {
        Self::new(control_exchange(), format!("{node}.{CONTROL_EXCHANGE}"), "", CONTROL_TIMES)
    }

    /// The mailbox in which the client `client_id` receives the answers to its control requests.
    #[must_use]
    pub fn control_replies(client_id: &str) -> Self {
        Self::new(control_reply_exchange(), format!("{client_id}.{CONTROL_REPLY_EXCHANGE}"), client_id, CONTROL_TIMES)
    }

    /// The mailbox in which a monitor receives the events whose routing key fits `binding`: `#` for all events, `worker.#` for
    /// those of workers. `id`, usually a UUID, makes the queue's name unique.
    #[must_use]
    pub fn events(id: &str, binding: &str) -> Self {
        Self::new(event_exchange(), format!("{EVENT_EXCHANGE}.{id}"), binding, EVENT_TIMES)
    }

    fn new(exchange: ExchangeDeclare, queue: String, routing_key: &str, times: (i32, i32)) -> Self {
        let mut arguments = FieldTable::new();
        arguments.insert("x-expires", FieldValue::I32(times.0));
        arguments.insert("x-message-ttl", FieldValue::I32(times.1));
        Self {
            binding: Binding {
                queue: queue.clone(),
                exchange: exchange.name.clone(),
                routing_key: routing_key.to_owned(),
                arguments: FieldTable::new(),
            },
            // Celery up to 5.6 does not make it exclusive; newer RabbitMQ refuses transient queues that are not.
            queue: QueueDeclare { name: queue, durable: false, exclusive: true, auto_delete: true, arguments },
            exchange,
        }
    }
}

/// How long an unused queue for control messages, and an unread message in it, is kept, in milliseconds.
const CONTROL_TIMES: (i32, i32) = (10_000, 300_000);
/// How long an unused queue for events, and an unread event in it, is kept, in milliseconds.
const EVENT_TIMES: (i32, i32) = (60_000, 5_000);

/// The exchange to which every worker's queue for control requests is bound.
#[must_use]
pub fn control_exchange() -> ExchangeDeclare {
    broadcast_exchange(CONTROL_EXCHANGE, ExchangeKind::Fanout, false)
}

/// The exchange for answers to control requests.
#[must_use]
pub fn control_reply_exchange() -> ExchangeDeclare {
    broadcast_exchange(CONTROL_REPLY_EXCHANGE, ExchangeKind::Direct, false)
}

/// The exchange for events.
#[must_use]
pub fn event_exchange() -> ExchangeDeclare {
    broadcast_exchange(EVENT_EXCHANGE, ExchangeKind::Topic, true)
}

fn broadcast_exchange(name: &str, kind: ExchangeKind, durable: bool) -> ExchangeDeclare {
    ExchangeDeclare { name: name.to_owned(), kind, durable, auto_delete: false, arguments: FieldTable::new() }
}

/// Whether the `pattern` of a topic exchange fits `routing_key`: words are separated by dots, `*` stands for one word and `#`
/// for any number of them.
#[must_use]
pub fn topic_matches(pattern: &str, routing_key: &str) -> bool {
    let split = |text: &'_ str| text.split('.').filter(|_| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (pattern, words) = (split(pattern), split(routing_key));
    // Word by word over the pattern: which prefixes of the key fit so far.
    let mut taken = vec![false; words.len() + 1];
    taken[0] = true;
    for part in &pattern {
        let mut next = vec![false; words.len() + 1];
        for (at, reached) in taken.iter().enumerate() {
            match part.as_str() {
                "#" if *reached => next[at..].fill(true),
                part if *reached && words.get(at).is_some_and(|word| part == "*" || part == word) => {
                    next[at + 1] = true
                }
                _ => {}
            }
        }
        taken = next;
    }
    taken.last().copied().unwrap_or_default()
}

/// The destination of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

impl Route {
    /// Straight to `queue`, through the default exchange, as Celery sends tasks and results.
    #[must_use]
    pub fn to_queue(queue: impl Into<String>) -> Self {
        Self { exchange: DEFAULT_EXCHANGE.to_owned(), routing_key: queue.into() }
    }
}
