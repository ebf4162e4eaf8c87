//! RabbitMQ over AMQP 0-9-1.
//!
//! `lapin` moves the frames; its automatic recovery is off. One supervisor task owns the connection and makes a new one when
//! it is lost. Publishers borrow the present connection, or wait for the next; each consumer has a driver task with a channel
//! of its own, and starts over on a new channel whenever the old one ends. Every such start is a new generation: a delivery
//! knows its own, and is never acknowledged on another.

mod acks;
mod consumer;
mod convert;
mod guard;
#[cfg(any(test, fuzzing))]
pub(crate) mod guard_fuzz;
mod link;
mod lock;
mod publisher;
mod supervisor;
mod topology;
mod transport;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{link::Link, publisher::Publisher};
use super::{
    AmqpUrl, Broadcast, Broker, BrokerError, BrokerInfo, ConnectOptions, ConnectionState, Consumer, Lock, Publish,
    PublishError, Subscription, TaskQueue,
};
use crate::servers::Servers;

/// A self-healing connection to RabbitMQ.
pub struct AmqpBroker {
    shared: Arc<Shared>,
    publisher: Publisher,
}

/// What the supervisor, publishers and consumers share.
struct Shared {
    pub servers: Servers<AmqpUrl>,
    pub options: ConnectOptions,
    pub state: watch::Sender<ConnectionState>,
    pub link: watch::Sender<Option<Arc<Link>>>,
    /// Numbers connections and channels, so that no two ever share a generation.
    pub generations: std::sync::atomic::AtomicU64,
    pub closed: CancellationToken,
    /// The locks this process holds, or is asking for.
    locks: Mutex<HashSet<String>>,
}

impl Shared {
    pub fn locks(&self) -> MutexGuard<'_, HashSet<String>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
    }

    /// The present connection, if it is alive.
    pub fn present(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone().filter(|link| link.is_alive())
    }

    /// The present connection, or the next one. `None` once the broker was closed.
    pub async fn link(&self) -> Option<Arc<Link>> {
        if let Some(link) = self.present().filter(|_| !self.closed.is_cancelled()) {
            return Some(link);
        }
        // Boxed because it is rare, and part of every publish.
        Box::pin(self.next_link()).await
    }

    async fn next_link(&self) -> Option<Arc<Link>> {
        let mut links = self.link.subscribe();
        loop {
            if self.closed.is_cancelled() {
                return None;
            }
            if let Some(link) = links.borrow_and_update().clone().filter(|link| link.is_alive()) {
                return Some(link);
            }
            tokio::select! {
                () = self.closed.cancelled() => return None,
                changed = links.changed() => changed.ok()?,
            }
        }
    }

    /// Why there is no connection, in words.
    pub fn reason(&self) -> String {
        let state = self.state.borrow();
        state.last_error.clone().unwrap_or_else(|| format!("no connection to {} yet", self.servers))
    }
}

impl AmqpBroker {
    /// Starts connecting in the background and returns at once. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<AmqpUrl>>, options: ConnectOptions) -> Self {
        let shared = Arc::new(Shared {
            servers: servers.into(),
            options,
            state: watch::Sender::new(ConnectionState::connecting()),
            link: watch::Sender::new(None),
            generations: std::sync::atomic::AtomicU64::new(0),
            closed: CancellationToken::new(),
            locks: Mutex::default(),
        });
        tokio::spawn(supervisor::run(shared.clone()));
        Self { publisher: Publisher::new(shared.clone()), shared }
    }

    /// Runs a declaration on the present connection, on the next one if it was lost meanwhile, until the time allowed is up.
    async fn declare<F, Fut>(&self, what: &str, declare: F) -> Result<(), BrokerError>
    where
        F: Fn(Arc<Link>) -> Fut,
        Fut: Future<Output = Result<(), lapin::Error>>,
    {
        let attempts = async {
            loop {
                let Some(link) = self.shared.link().await else {
                    return Err(BrokerError::Closed);
                };
                match link.unless_lost(declare(link.clone())).await {
                    Some(Ok(())) => return Ok(()),
                    Some(Err(error)) if link::is_soft(&error) => {
                        return Err(BrokerError::Refused { what: what.to_owned(), reason: error.to_string() });
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, what, "declaration failed with the connection, waiting for the next");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    None => {}
                }
            }
        };
        match tokio::time::timeout(self.shared.options.operation_timeout, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(BrokerError::Unavailable { reason: self.shared.reason() }),
        }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError> {
        self.declare(&format!("queue {:?}", queue.name), |link| async move { topology::task_queue(&link, queue).await })
            .await
    }

    async fn declare_reply_queue(&self, name: &str) -> Result<(), BrokerError> {
        self.declare(&format!("reply queue {name:?}"), |link| async move { topology::reply_queue(&link, name).await })
            .await
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        self.publisher.publish(&publish).await
    }

    /// RabbitMQ sends on as soon as there is room, and is asked for nothing in between; more would only lie here.
    fn default_prefetch(&self) -> u16 {
        500
    }

    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(consumer::Source::Tasks { queue: queue.clone(), prefetch })
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(consumer::Source::Replies { name: name.to_owned() })
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        if self.shared.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        let mailbox = subscription.mailbox();
        let what = format!("mailbox {:?}", mailbox.queue.name);
        let (consumer, listening) = consumer::AmqpConsumer::listen(self.shared.clone(), mailbox);
        match tokio::time::timeout(self.shared.options.operation_timeout, listening).await {
            Ok(Ok(Ok(()))) => Ok(Box::new(consumer)),
            Ok(Ok(Err(reason))) => Err(BrokerError::Refused { what, reason }),
            Ok(Err(_)) => Err(BrokerError::Closed),
            Err(_) => Err(BrokerError::Unavailable { reason: self.shared.reason() }),
        }
    }

    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError> {
        self.declare(&format!("exchange {:?}", broadcast.exchange()), |link| async move {
            topology::shared_exchange(&link, &broadcast.declaration()).await
        })
        .await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        self.take(name).await
    }

    fn info(&self) -> BrokerInfo {
        let url = self.shared.servers.present();
        BrokerInfo {
            transport: if url.tls.is_some() { "amqps" } else { "amqp" }.to_owned(),
            hostname: url.host,
            port: Some(url.port),
            user: url.user,
            vhost: url.vhost,
            heartbeat: self.shared.options.heartbeat,
        }
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    async fn close(&self) {
        self.shared.closed.cancel();
        let link = self.shared.link.send_replace(None);
        if let Some(link) = link {
            link.close().await;
        }
        self.shared.state.send_modify(|state| state.down(None));
    }
}

impl AmqpBroker {
    fn start_consumer(&self, source: consumer::Source) -> Result<Box<dyn Consumer>, BrokerError> {
        if self.shared.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        Ok(Box::new(consumer::AmqpConsumer::start(self.shared.clone(), source)))
    }
}

impl Drop for AmqpBroker {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBroker")
            .field("servers", &self.shared.servers)
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}
