//! Redis, on the keys kombu uses, so that Python clients and workers share queues with ours.
//!
//! What differs from kombu, without a Python peer noticing:
//!
//! - **Nothing is lost between taking and noting.** kombu pops a message and notes it as unacknowledged in a second round trip;
//!   a crash between the two loses it. Here one script does both ([`scripts::TAKE`]).
//! - **Waiting costs nothing and consumes nothing.** An idle consumer blocks on `BLMOVE queue queue RIGHT RIGHT`, which moves
//!   the next message to where it is and returns the moment there is one; then the script takes it. Less urgent priorities
//!   lie in other lists, which are looked at twenty times a second while the first is empty. Measured on a busy two-core
//!   machine over loopback, unoptimised: a millisecond from before the publish to the delivery (15 at the 99th percentile),
//!   11,000 tasks a second when there are many, and less than 1 % of a core when there are none. Polling as quickly would
//!   take a thousand commands a second for nothing; keyspace notifications are off on most servers, and are lost with a
//!   connection. Without `BLMOVE` (Redis before 6.2, or not allowed) the lists are looked at every 20 ms.
//! - **Deliveries outlive their connection.** A message is held by its tag in `unacked`, not by a connection, so after a
//!   reconnect what runs goes on and is acknowledged; nothing runs twice because a cable was pulled. A delivery is stale only
//!   when somebody else has put it back. What a request takes that arrives after its connection was given up, because the
//!   network sent it again, is put back within seconds.
//! - **What is being worked on is not taken away.** Tags are renewed every minute, so that no worker, Python's included,
//!   puts back after the visibility timeout (an hour) what is only slow, and as soon as Redis is back after it was away. A tag
//!   of ours that was not renewed for five minutes belongs to a dead worker and is put back by any worker of ours, but for the
//!   process that holds it; Python's wait for the visibility timeout.
//! - **Many are settled in one step.** What is acknowledged while an acknowledgement is under way goes with the next, and room
//!   for more is gathered for a moment while there is other work; so a round trip is paid for many tasks and not for each. As
//!   long as there is more in the queue several steps take from it at once, and no round trip is waited for.
//! - **A publish is confirmed** by the reply to it. `mandatory` asks for more than kombu, for which every name is a queue: the
//!   queue has to be known, by a binding (any worker or client that declared it), or by a list that exists.
//! - **A reply to nobody goes away**: a list made by a message that is no task, for a queue nobody declared, is dropped after a
//!   day.
//!
//! What Redis cannot do: it does not know who sent a message, so the exchange a delivery names is what its sender claims; and
//! it does not drop what has expired, so an expired task reaches a worker, which answers it as revoked.
//!
//! Redis has to keep what it confirms: without `appendonly yes` a restart forgets messages, and with `maxmemory` its policy
//! must be `noeviction`. A user with an ACL needs scripts (`EVALSHA`, `EVAL`, `SCRIPT|LOAD`) and what those in [`scripts`] call.

mod consumer;
pub(crate) mod fanout;
mod held;
mod lock;
mod publisher;
mod replies;
mod restore;
mod upkeep;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use async_trait::async_trait;
#[allow(unused_imports, reason = "named in the documentation")]
use celery_protocol::redis::scripts;
use celery_protocol::{
    redis::{BindingMember, Keys, keys::is_fanout},
    topology::Mailbox,
};
use tokio::sync::watch;

use super::{
    Broadcast, Broker, BrokerError, BrokerInfo, ConnectOptions, ConnectionState, Consumer, Lock, Publish, PublishError,
    Subscription, TaskQueue,
};
use crate::{
    redis::{Redis, RedisUrl, RequestError},
    servers::Servers,
};

/// A self-healing connection to Redis.
pub struct RedisBroker {
    shared: Arc<Shared>,
    /// Restores what dead workers held; started with the first consumer.
    restoring: OnceLock<()>,
}

struct Shared {
    redis: Arc<Redis>,
    keys: Keys,
    /// What each consumer holds, so that nothing of it is put back for the work of a dead one.
    held: Mutex<Vec<Weak<held::Held>>>,
}

impl RedisBroker {
    /// Starts connecting in the background and returns at once. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<RedisUrl>>, options: ConnectOptions) -> Self {
        let redis = Redis::start(servers.into(), options);
        let keys = Keys::new(redis.url.prefix.clone());
        Self { shared: Arc::new(Shared { redis, keys, held: Mutex::default() }), restoring: OnceLock::new() }
    }

    fn open(&self) -> Result<(), BrokerError> {
        if self.shared.redis.closed.is_cancelled() { Err(BrokerError::Closed) } else { Ok(()) }
    }
}

impl Shared {
    /// Notes what a consumer holds for as long as there is one.
    fn note(&self, held: &Arc<held::Held>) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(held));
    }

    /// Whether one of our consumers holds the tag.
    fn holds(&self, tag: &str) -> bool {
        let all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).any(|held| held.holds(tag))
    }

    /// Binds the queue to the exchange of its name and to the further ones, for good.
    async fn declare(&self, queue: &TaskQueue) -> Result<(), RequestError> {
        let member = BindingMember::direct(&queue.name, &queue.name).encode();
        let mut bindings = redis::pipe();
        bindings.atomic();
        for exchange in std::iter::once(&queue.name).chain(&queue.exchanges) {
            bindings.sadd(self.keys.bindings(exchange), &member).ignore();
            bindings.sadd(self.keys.permanent_bindings(exchange), &member).ignore();
        }
        let bindings = &bindings;
        self.redis.request(|mut connection, _| async move { bindings.query_async::<()>(&mut connection).await }).await
    }
}

fn refused(what: String, error: RequestError) -> BrokerError {
    match error {
        RequestError::Closed => BrokerError::Closed,
        RequestError::Unavailable { reason, .. } => BrokerError::Unavailable { reason },
        RequestError::Refused { reason } => BrokerError::Refused { what, reason },
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError> {
        self.shared.declare(queue).await.map_err(|error| refused(format!("queue {:?}", queue.name), error))
    }

    /// Nothing is to be done: on Redis a reply queue is there when something is in it.
    async fn declare_reply_queue(&self, _name: &str) -> Result<(), BrokerError> {
        self.open()
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        publisher::publish(&self.shared, publish).await
    }

    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.open()?;
        self.restoring.get_or_init(|| {
            let shared = self.shared.clone();
            self.shared.redis.tasks.spawn(upkeep::restore_what_was_left(shared));
        });
        Ok(Box::new(consumer::RedisConsumer::start(self.shared.clone(), queue.clone(), prefetch)))
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.open()?;
        Ok(Box::new(replies::ReplyConsumer::start(self.shared.clone(), name.to_owned(), None)))
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        self.open()?;
        let Mailbox { queue, binding, .. } = subscription.mailbox();
        if is_fanout(&binding.exchange) {
            let keys = &self.shared.keys;
            let pattern = keys.fanout_pattern(self.shared.redis.url.db, &binding.exchange, &binding.routing_key);
            return Ok(Box::new(fanout::FanoutConsumer::start(self.shared.clone(), pattern).await?));
        }
        let bound_to = Some((binding.exchange, binding.routing_key));
        let consumer = replies::ReplyConsumer::start(self.shared.clone(), queue.name, bound_to);
        match tokio::time::timeout(self.shared.redis.options.operation_timeout, consumer.bound()).await {
            Ok(()) => Ok(Box::new(consumer)),
            Err(_) => Err(BrokerError::Unavailable { reason: self.shared.redis.reason() }),
        }
    }

    /// Nothing is to be done: a channel is there when somebody listens to it.
    async fn declare_broadcast(&self, _broadcast: Broadcast) -> Result<(), BrokerError> {
        self.open()
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        self.open()?;
        lock::take(&self.shared, name).await.map_err(|error| refused(format!("lock {name:?}"), error))
    }

    fn info(&self) -> BrokerInfo {
        self.shared.redis.servers.present().info()
    }

    /// An exchange is a word in the message there.
    fn guards_exchanges(&self) -> bool {
        false
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.redis.state.subscribe()
    }

    async fn close(&self) {
        self.shared.redis.close().await;
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.shared.redis.closed.cancel();
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").field("redis", &self.shared.redis).finish_non_exhaustive()
    }
}
