//! The broker `redis://`.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use celery_protocol::{redis::keys::is_fanout, topology::Mailbox};
use tokio::sync::watch;

use super::{abandoned, broker_state::RedisBrokerState, driver, fanout, lock, publisher, replies};
use crate::{
    broker::{
        error::{BrokerError, PublishError},
        info::BrokerInfo,
        lock::Lock,
        publish::Publish,
        queue::TaskQueue,
        subscription::{Broadcast, Subscription},
        traits::{Broker, Consumer},
    },
    connection::{ConnectOptions, ConnectionState, Servers},
    redis::RequestError,
    url::RedisUrl,
};

/// A connection to Redis that repairs itself.
pub struct RedisBroker {
    state: Arc<RedisBrokerState>,
    /// Set once the task that requeues the messages of dead workers runs; the first consumer starts it.
    requeueing: OnceLock<()>,
}

impl RedisBroker {
    /// Starts connecting in the background and returns immediately. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<RedisUrl>>, options: ConnectOptions) -> Self {
        Self { state: Arc::new(RedisBrokerState::start(servers.into(), options)), requeueing: OnceLock::new() }
    }
}

fn broker_error(what: String, error: RequestError) -> BrokerError {
    match error {
        RequestError::Closed => BrokerError::Closed,
        RequestError::Unavailable { reason, .. } => BrokerError::Unavailable { reason },
        RequestError::Refused { reason } => BrokerError::Refused { what, reason },
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError> {
        self.state.declare(queue).await.map_err(|error| broker_error(format!("queue {:?}", queue.name), error))
    }

    /// Does nothing: on Redis a reply queue exists as long as it holds a message.
    async fn declare_reply_queue(&self, _name: &str) -> Result<(), BrokerError> {
        self.state.check_open()
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        publisher::publish(&self.state, publish).await
    }

    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.state.check_open()?;
        self.requeueing.get_or_init(|| {
            self.state.redis.tasks.spawn(abandoned::requeue_abandoned(self.state.clone()));
        });
        Ok(Box::new(driver::consume_tasks(self.state.clone(), queue.clone(), prefetch)))
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.state.check_open()?;
        Ok(Box::new(replies::consume_replies(self.state.clone(), name.to_owned(), None).consumer))
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        self.state.check_open()?;
        let Mailbox { queue, binding, .. } = subscription.mailbox();
        if is_fanout(&binding.exchange) {
            let keys = &self.state.keys;
            let pattern = keys.fanout_pattern(self.state.redis.url.db, &binding.exchange, &binding.routing_key);
            return Ok(Box::new(fanout::listen(self.state.clone(), pattern).await?));
        }
        let bound_to = Some((binding.exchange, binding.routing_key));
        let replies = replies::consume_replies(self.state.clone(), queue.name, bound_to);
        match tokio::time::timeout(self.state.redis.options().operation_timeout, replies.bound()).await {
            Ok(()) => Ok(Box::new(replies.consumer)),
            Err(_) => Err(BrokerError::Unavailable { reason: self.state.redis.reason() }),
        }
    }

    /// Does nothing: a channel exists as long as a client listens to it.
    async fn declare_broadcast(&self, _broadcast: Broadcast) -> Result<(), BrokerError> {
        self.state.check_open()
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        self.state.check_open()?;
        lock::take_lock(&self.state, name).await.map_err(|error| broker_error(format!("lock {name:?}"), error))
    }

    fn info(&self) -> BrokerInfo {
        BrokerInfo::of_redis(&self.state.redis.supervised.servers.present())
    }

    /// In Redis an exchange is only a word in the message.
    fn guards_exchanges(&self) -> bool {
        false
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.state.redis.supervised.state.subscribe()
    }

    async fn close(&self) {
        self.state.redis.close().await;
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.state.redis.closed().cancel();
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").field("redis", &self.state.redis).finish_non_exhaustive()
    }
}
