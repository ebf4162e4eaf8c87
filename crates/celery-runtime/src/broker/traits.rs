//! The contracts of a broker and a consumer.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    delivery::Delivery,
    error::{BrokerError, PublishError},
    info::BrokerInfo,
    lock::Lock,
    publish::Publish,
    queue::TaskQueue,
    subscription::{Broadcast, Subscription},
};
use crate::connection::ConnectionState;

/// A shared broker handle.
pub type SharedBroker = Arc<dyn Broker>;

/// How long [`Consumer::cancel`] waits for deliveries that are on their way. Later ones are requeued when the consumer is
/// dropped.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a message broker that repairs itself.
///
/// Every method may be called while the broker is away: a call waits for the connection up to
/// [`ConnectOptions::operation_timeout`](super::ConnectOptions::operation_timeout) and then fails with an `Unavailable`;
/// consumers wait without limit.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// Declares a task queue exactly as Celery does (exchange, queue, binding). Idempotent. A queue of another owner that exists
    /// with other arguments is used as it is, with a warning.
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

    /// Publishes one message. A message is sent again when the connection is lost before the outcome is known, so a consumer may
    /// see it twice.
    ///
    /// # Errors
    /// See [`PublishError`]; each variant says whether a consumer may have seen the message.
    async fn publish(&self, publish: Publish) -> Result<(), PublishError>;

    /// Starts to consume a task queue, declaring it first, with at most `prefetch` unacknowledged deliveries. Returns
    /// immediately, even while the broker is away; the consumer starts, and restarts after each reconnect, in the background.
    ///
    /// # Errors
    /// If this broker cannot serve task queues, or was closed.
    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Starts to consume a reply queue without acknowledgements, declaring it first.
    ///
    /// # Errors
    /// If the broker was closed.
    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Starts to receive broadcasts, without acknowledgements.
    ///
    /// Declares the exchange if it is missing, a queue of this connection and its binding, exactly as Celery 5.7 does
    /// ([`Subscription::mailbox`]). Returns when it listens, so that every later publish arrives; listens again after each
    /// reconnect. Broadcasts that arrive faster than they are taken are dropped, as are those sent while the connection is away.
    ///
    /// While a dead connection still holds the queue (405), it retries until the time limit.
    ///
    /// # Errors
    /// `Unavailable` if it does not listen within
    /// [`ConnectOptions::operation_timeout`](super::ConnectOptions::operation_timeout), `Refused` if the broker does not allow
    /// it, `Unsupported` if this kind of broker cannot.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Makes sure that [`publish`](Self::publish) to [`Broadcast::exchange`] works: an existing exchange is used as it is, a
    /// missing one is declared as Celery does. Call it again for each connection, because two of the exchanges do not survive a
    /// restart of the broker.
    ///
    /// # Errors
    /// As [`declare_task_queue`](Self::declare_task_queue).
    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError>;

    /// How many unacknowledged deliveries keep a worker with short tasks busy while the broker is a few milliseconds away. 1000,
    /// unless the broker needs fewer.
    fn default_prefetch(&self) -> u16 {
        1000
    }

    /// Takes the lock of that name among all processes on this broker, without waiting. `None` while the lock is held, by this
    /// process as well.
    ///
    /// Dropping the lock releases it. It is lost with the connection, or when its holder is silent for about half a minute.
    ///
    /// # Errors
    /// `Unavailable` if the broker is away for too long, `Refused` if it does not allow the lock, `Unsupported` if this kind of
    /// broker has none.
    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        let _ = name;
        Err(BrokerError::Unsupported("keep a lock"))
    }

    /// Where the broker is, without secrets. By default, in this process.
    fn info(&self) -> BrokerInfo {
        BrokerInfo::in_process()
    }

    /// Whether the broker itself vouches for the exchange a delivery names, and lets only users with permission write to it.
    /// Otherwise the sender claims the exchange, which proves nothing.
    fn guards_exchanges(&self) -> bool {
        true
    }

    /// The connection's state, as it changes.
    fn connection_state(&self) -> watch::Receiver<ConnectionState>;

    /// Ends the connection for good. Unacknowledged deliveries return to their queues, consumers end, further calls fail.
    async fn close(&self);
}

/// A stream of deliveries. Dropping it stops consuming and requeues unacknowledged deliveries.
#[async_trait]
pub trait Consumer: Send + fmt::Debug {
    /// The next delivery. Waits through broker outages. `None` after [`cancel`](Self::cancel) or when the broker was closed.
    /// Safe to use in `select!`: dropping the future never loses a delivery.
    async fn next(&mut self) -> Option<Delivery>;

    /// Stops receiving. Deliveries already handed out can still be acknowledged until the consumer is dropped; the others are
    /// requeued immediately. If the broker does not answer, those still on their way are requeued when the consumer is dropped.
    async fn cancel(&mut self);
}
