//! The state that all parts of one Redis broker share.

use std::sync::{Arc, Mutex, Weak};

use celery_protocol::redis::{BindingMember, RedisKeys};

use super::unsettled::UnsettledDeliveries;
use crate::{
    broker::{error::BrokerError, queue::TaskQueue},
    connection::{ConnectOptions, Servers},
    redis::{RedisConnection, RequestError},
    sync::lock,
    url::RedisUrl,
};

/// The connection, the names of the keys, and the deliveries of all consumers.
pub(super) struct RedisBrokerState {
    pub redis: Arc<RedisConnection>,
    pub keys: RedisKeys,
    /// The unsettled deliveries of each consumer, so that none of them counts as the work of a dead worker.
    consumers: Mutex<Vec<Weak<UnsettledDeliveries>>>,
}

impl RedisBrokerState {
    /// Starts connecting in the background. Must be called inside a tokio runtime.
    pub fn start(servers: Servers<RedisUrl>, options: ConnectOptions) -> Self {
        let redis = RedisConnection::start(servers, options);
        let keys = RedisKeys::new(redis.url.prefix.clone());
        Self { redis, keys, consumers: Mutex::default() }
    }

    /// # Errors
    /// If this process closed the broker.
    pub fn check_open(&self) -> Result<(), BrokerError> {
        if self.redis.closed().is_cancelled() { Err(BrokerError::Closed) } else { Ok(()) }
    }

    /// Registers the deliveries of a consumer for as long as it exists.
    pub fn register(&self, unsettled: &Arc<UnsettledDeliveries>) {
        let mut consumers = lock(&self.consumers);
        consumers.retain(|unsettled| unsettled.strong_count() > 0);
        consumers.push(Arc::downgrade(unsettled));
    }

    /// Whether a consumer of this process holds the tag.
    pub fn holds(&self, tag: &str) -> bool {
        lock(&self.consumers).iter().filter_map(Weak::upgrade).any(|unsettled| unsettled.holds(tag))
    }

    /// Binds the queue to the exchange of its name and to the further exchanges, permanently.
    pub async fn declare(&self, queue: &TaskQueue) -> Result<(), RequestError> {
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
