//! The broker `amqp://`.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    connection::{AmqpConnection, declare},
    consumer::AmqpConsumer,
    lock::take_lock,
    publisher::publish,
    source::AmqpSource,
    topology,
};
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
    connection::{ConnectOptions, ConnectionState, Servers, supervise},
    url::AmqpUrl,
};

/// A connection to RabbitMQ that repairs itself.
pub struct AmqpBroker {
    connection: Arc<AmqpConnection>,
    /// The names of the locks that this process holds, or is asking for.
    lock_names: Arc<Mutex<HashSet<String>>>,
}

impl AmqpBroker {
    /// Starts connecting in the background and returns immediately. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<AmqpUrl>>, options: ConnectOptions) -> Self {
        let connection = Arc::new(AmqpConnection::new(servers.into(), options));
        tokio::spawn(supervise(connection.clone()));
        Self { connection, lock_names: Arc::default() }
    }

    fn start_consumer(&self, source: AmqpSource) -> Result<Box<dyn Consumer>, BrokerError> {
        if self.connection.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        Ok(Box::new(AmqpConsumer::start(self.connection.clone(), source)))
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError> {
        let what = format!("queue {:?}", queue.name);
        declare(&self.connection, &what, |link| async move { topology::task_queue(&link, queue).await }).await
    }

    async fn declare_reply_queue(&self, name: &str) -> Result<(), BrokerError> {
        let what = format!("reply queue {name:?}");
        declare(&self.connection, &what, |link| async move { topology::reply_queue(&link, name).await }).await
    }

    async fn publish(&self, message: Publish) -> Result<(), PublishError> {
        publish(&self.connection, &message).await
    }

    /// RabbitMQ sends the next delivery as soon as there is room, without being asked; more would only wait here.
    fn default_prefetch(&self) -> u16 {
        500
    }

    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(AmqpSource::Tasks { queue: queue.clone(), prefetch })
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(AmqpSource::Replies { name: name.to_owned() })
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        if self.connection.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        let mailbox = subscription.mailbox();
        let what = format!("mailbox {:?}", mailbox.queue.name);
        let (consumer, listening) = AmqpConsumer::listen(self.connection.clone(), mailbox);
        match tokio::time::timeout(self.connection.options.operation_timeout, listening).await {
            Ok(Ok(Ok(()))) => Ok(Box::new(consumer)),
            Ok(Ok(Err(error))) => Err(BrokerError::Refused { what, reason: error.to_string() }),
            Ok(Err(_)) => Err(BrokerError::Closed),
            Err(_) => Err(BrokerError::Unavailable { reason: self.connection.reason() }),
        }
    }

    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError> {
        let what = format!("exchange {:?}", broadcast.exchange());
        let exchange = &broadcast.declaration();
        declare(&self.connection, &what, |link| async move { topology::shared_exchange(&link, exchange).await }).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        take_lock(&self.connection, &self.lock_names, name).await
    }

    fn info(&self) -> BrokerInfo {
        BrokerInfo::of_amqp(self.connection.servers.present(), self.connection.options.heartbeat)
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.connection.state.subscribe()
    }

    async fn close(&self) {
        self.connection.closed.cancel();
        if let Some(link) = self.connection.withdraw() {
            link.close().await;
        }
        self.connection.state.send_modify(|state| state.down(None));
    }
}

impl Drop for AmqpBroker {
    fn drop(&mut self) {
        self.connection.closed.cancel();
    }
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBroker")
            .field("servers", &self.connection.servers)
            .field("state", &*self.connection.state.borrow())
            .finish_non_exhaustive()
    }
}
