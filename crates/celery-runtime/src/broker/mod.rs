//! Brokers: what moves messages. [`connect`] picks one by URL; all pass the same conformance suite.
//!
//! | URL | broker |
//! |---|---|
//! | `amqp://user:password@host:port/vhost`, `amqps://…` | [`amqp::AmqpBroker`]: RabbitMQ, by an own reconnecting supervisor |
//! | `redis://user:password@host:port/db`, `rediss://…` | [`redis::RedisBroker`]: Redis as kombu uses it, without its loss window |
//! | `memory://` | [`memory::MemoryBroker`]: inside this process, shared by cloning the `Arc` |
//! | `memory+unix:///path/broker.sock` | [`socket::SocketBroker`]: the in-process broker of another process on this machine |

pub mod amqp;
pub(crate) mod backoff;
mod connect;
mod delivery;
mod error;
mod info;
mod lock;
pub mod memory;
pub mod redis;
pub mod socket;
mod state;
mod subscription;
pub(crate) mod url;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::message::Message;
use tokio::sync::watch;

pub(crate) use connect::several;
pub use connect::{ConnectError, ConnectOptions, TlsFiles, TlsOptions, connect};
pub use delivery::{Delivery, Settle};
pub use error::{AckError, BrokerError, PublishError};
pub use info::BrokerInfo;
pub use lock::Lock;
pub use state::ConnectionState;
pub use subscription::{Broadcast, Subscription};
pub use url::{AmqpUrl, BrokerUrl, UrlError, parse_list};

pub use crate::{redis::RedisUrl, servers::Servers};

/// A shared broker handle.
pub type SharedBroker = Arc<dyn Broker>;

/// How sure the publisher wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// The broker confirmed that it has the message. With `mandatory`, also that a queue took it: otherwise the publish
    /// fails with [`PublishError::Unroutable`].
    Confirmed {
        /// Fail if no queue would take the message.
        mandatory: bool,
    },
    /// Written and forgotten: for events, progress and replies nobody may be waiting for.
    FireAndForget,
}

/// One message on its way out.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The exchange; empty is the default exchange, which routes by queue name.
    pub exchange: String,
    /// The routing key; on the default exchange the queue's name.
    pub routing_key: String,
    /// What to send.
    pub message: Message,
    /// How sure to be.
    pub guarantee: Guarantee,
}

impl Publish {
    /// A task for `queue` by the default exchange: confirmed and mandatory.
    #[must_use]
    pub fn task(queue: impl Into<String>, message: Message) -> Self {
        Self {
            exchange: String::new(),
            routing_key: queue.into(),
            message,
            guarantee: Guarantee::Confirmed { mandatory: true },
        }
    }

    /// A result for a reply queue: confirmed, but a reply queue that is gone is no error (`reference §2.2`).
    #[must_use]
    pub fn reply(queue: impl Into<String>, message: Message) -> Self {
        Self {
            exchange: String::new(),
            routing_key: queue.into(),
            message,
            guarantee: Guarantee::Confirmed { mandatory: false },
        }
    }
}

/// A task queue as Celery declares it: a durable queue without arguments, bound to a durable direct exchange of its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQueue {
    /// The queue's name, which is also its exchange and its routing key.
    pub name: String,
    /// Further durable direct exchanges to bind it to, with the queue's name as routing key. One that cannot be declared or
    /// bound (no permission) is logged and left out; the queue is consumed all the same.
    pub exchanges: Vec<String>,
}

impl TaskQueue {
    /// A queue with only the exchange of its own name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), exchanges: Vec::new() }
    }

    /// Binds the queue to one more exchange.
    #[must_use]
    pub fn also_bound_to(mut self, exchange: impl Into<String>) -> Self {
        self.exchanges.push(exchange.into());
        self
    }
}

impl From<&str> for TaskQueue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// A connection to a message broker that heals itself.
///
/// Everything here may be called while the broker is away: calls wait for the connection up to
/// [`ConnectOptions::operation_timeout`] and then fail with an `Unavailable`; consumers wait without limit.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// Declares a task queue exactly as Celery does (exchange, queue, binding). Idempotent. A queue that exists with other
    /// arguments, owned by someone else, is taken as it is, with a warning.
    ///
    /// # Errors
    /// If the broker is away for too long, or refuses even a passive declaration.
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError>;

    /// Declares the reply queue of a caller as Celery 5.7 does: durable, deleted with its last consumer or after a day.
    /// Idempotent.
    ///
    /// # Errors
    /// As [`declare_task_queue`](Self::declare_task_queue).
    async fn declare_reply_queue(&self, name: &str) -> Result<(), BrokerError>;

    /// Publishes one message. When the connection is lost before the outcome is known the message is sent again, so a
    /// consumer may see it twice.
    ///
    /// # Errors
    /// See [`PublishError`]; each variant says whether a consumer may have seen the message.
    async fn publish(&self, publish: Publish) -> Result<(), PublishError>;

    /// Starts to consume a task queue, declaring it first, with at most `prefetch` unacknowledged deliveries. Returns at
    /// once even while the broker is away; the consumer takes up (and takes up again after each reconnect) by itself.
    ///
    /// # Errors
    /// If this broker cannot serve task queues, or was closed.
    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Starts to consume a reply queue without acknowledgements, declaring it first.
    ///
    /// # Errors
    /// If the broker was closed.
    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Starts to receive what is broadcast, without acknowledgements: declares the exchange if it is missing, a queue of this
    /// connection's own and its binding, exactly as Celery 5.7 does ([`Subscription::mailbox`]). Returns when it listens, so
    /// that whatever is published afterwards arrives; takes up by itself after each reconnect. What arrives faster than it
    /// is taken is dropped, as is what is sent while the connection is away.
    ///
    /// Where a dead connection still holds the queue (405), it is tried again until the time allowed is up.
    ///
    /// # Errors
    /// `Unavailable` if it does not listen within [`ConnectOptions::operation_timeout`], `Refused` if the broker does not
    /// allow it, `Unsupported` if this kind of broker cannot.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Makes sure that something can be broadcast with [`publish`](Self::publish) to [`Broadcast::exchange`]: an exchange that
    /// exists is taken as it is, a missing one is declared as Celery does. To be called anew for each connection, because
    /// two of them do not survive a restart of the broker.
    ///
    /// # Errors
    /// As [`declare_task_queue`](Self::declare_task_queue).
    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError>;

    /// How many unacknowledged deliveries keep a worker with short tasks busy while the broker is a few milliseconds away; 1000
    /// unless the broker needs fewer.
    fn default_prefetch(&self) -> u16 {
        1000
    }

    /// Takes the lock of that name among all processes on this broker, without waiting: `None` while it is held, by this
    /// process as well. It is given back when it is dropped, and lost with the connection or when its holder is not heard of
    /// for half a minute or so.
    ///
    /// # Errors
    /// `Unavailable` if the broker is away for too long, `Refused` if it does not allow it, `Unsupported` if this kind of
    /// broker cannot.
    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        let _ = name;
        Err(BrokerError::Unsupported("keep a lock"))
    }

    /// What may be told about it; by default, that it is in this process.
    fn info(&self) -> BrokerInfo {
        BrokerInfo::in_process()
    }

    /// Whether the exchange a delivery says it came by is the broker's own word, given only to those who may write to that
    /// exchange. Where it is the sender's, it proves nothing.
    fn guards_exchanges(&self) -> bool {
        true
    }

    /// The connection's state, as it changes.
    fn connection_state(&self) -> watch::Receiver<ConnectionState>;

    /// Ends the connection for good. Unacknowledged deliveries return to their queues, consumers end, further calls fail.
    async fn close(&self);
}

/// A stream of deliveries. Dropping it stops consuming and returns what is unacknowledged to the queue.
#[async_trait]
pub trait Consumer: Send + fmt::Debug {
    /// The next delivery. Waits through broker outages. `None` after [`cancel`](Self::cancel) or when the broker was closed.
    /// Safe to use in `select!`: a delivery is never lost by dropping the future.
    async fn next(&mut self) -> Option<Delivery>;

    /// Stops receiving. Deliveries already handed out can still be acknowledged until the consumer is dropped; those not
    /// handed out return to the queue at once. What a broker that does not answer was asked for returns when the consumer
    /// is dropped.
    async fn cancel(&mut self);
}
