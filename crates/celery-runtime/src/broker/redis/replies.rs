//! Consumers of reply queues: nothing is acknowledged, and the queue goes with its consumer.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use celery_protocol::{
    Limits,
    redis::{BindingMember, Envelope, keys::TRANSIENT_BINDING_MILLISECONDS, scripts},
};
use redis::Script;
use tokio::sync::{Notify, mpsc};
use tracing::Instrument as _;

use super::{
    broker_state::RedisBrokerState,
    consumer::{ConsumerTokens, RedisConsumer},
    list_watcher::ListWatcher,
};
use crate::{
    broker::delivery::Delivery,
    connection::{Backoff, ConnectionError},
    redis::{RedisLink, RequestError, answer_timeout},
};

static BIND_FOR_A_WHILE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::BIND_FOR_A_WHILE));
static TAKE_FOR_GOOD: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::TAKE_FOR_GOOD));

/// How many replies one step takes at most.
const MAX_REPLIES_PER_STEP: usize = 32;

/// A consumer of replies, and its task.
pub(super) struct Replies {
    pub consumer: RedisConsumer,
    driver: Arc<ReplyDriver>,
}

impl Replies {
    /// Returns when the queue is bound, or the broker was closed.
    pub async fn bound(&self) {
        tokio::select! {
            () = self.driver.bound.notified() => {}
            () = self.driver.state.redis.closed().cancelled() => {}
        }
    }
}

/// Starts a consumer of a reply queue.
///
/// `binding` is the exchange and the routing key that the queue is bound to as long as it is consumed; `None` for a queue that
/// senders find by its name.
pub(super) fn consume_replies(
    state: Arc<RedisBrokerState>,
    queue: String,
    binding: Option<(String, String)>,
) -> Replies {
    let (sender, deliveries) = mpsc::channel(MAX_REPLIES_PER_STEP);
    let tokens = ConsumerTokens::new();
    // Replies are taken for good, so a cancel has nothing to wait for.
    tokens.idle.cancel();
    let span = tracing::error_span!("consumer", queue.name = queue);
    let driver = Arc::new(ReplyDriver { state, queue: queue.clone(), binding, bound: Notify::new() });
    let running = run(driver.clone(), sender, tokens.clone());
    driver.state.redis.tasks.spawn(running.instrument(span.clone()));
    Replies { consumer: RedisConsumer::new(queue, span, deliveries, tokens), driver }
}

async fn run(driver: Arc<ReplyDriver>, sender: mpsc::Sender<Delivery>, tokens: ConsumerTokens) {
    tokio::select! {
        () = tokens.end.cancelled() => {}
        () = tokens.cancel.cancelled() => {}
        () = driver.state.redis.closed().cancelled() => {}
        () = driver.consume(&sender) => {}
        () = driver.stay_bound() => {}
    }
    // Ends the wait for the next reply.
    drop(sender);
    driver.delete_queue().await;
}

struct ReplyDriver {
    state: Arc<RedisBrokerState>,
    queue: String,
    binding: Option<(String, String)>,
    bound: Notify,
}

impl ReplyDriver {
    async fn consume(&self, sender: &mpsc::Sender<Delivery>) {
        let mut backoff = Backoff::new(self.state.redis.options());
        while let Some(link) = self.state.redis.link().await {
            let since = tokio::time::Instant::now();
            let error = match self.subscribe(&link, sender).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if since.elapsed() > self.state.redis.options().max_retry {
                backoff.reset();
            }
            tracing::debug!(%error, "reply consumer lost its connection; consuming again");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Hands out replies until the consumer is gone.
    ///
    /// # Errors
    /// When the connection is lost.
    async fn subscribe(&self, link: &RedisLink, sender: &mpsc::Sender<Delivery>) -> Result<(), ConnectionError> {
        self.bind().await?;
        self.bound.notify_one();
        let opened = self.state.redis.open_own().await?;
        let mut watcher = ListWatcher::new(opened, answer_timeout(self.state.redis.options()));
        let lists = self.state.keys.queues(&self.queue);
        loop {
            let mut script = TAKE_FOR_GOOD.prepare_invoke();
            for list in &lists {
                script.key(list);
            }
            script.arg(MAX_REPLIES_PER_STEP).arg(Envelope::max_bytes(&Limits::default()));
            let taken: Vec<Vec<u8>> = script.invoke_async(&mut link.connection.clone()).await?;
            if taken.is_empty() {
                tokio::select! {
                    () = link.lost.cancelled() => return Err(ConnectionError::Ended),
                    outcome = watcher.wait(&lists[0]) => outcome?,
                }
            }
            for envelope in taken {
                match Envelope::decode(&envelope, &Limits::default()) {
                    Ok(Envelope { message, exchange, routing_key, redelivered, .. }) => {
                        let delivery =
                            Delivery::new(message, exchange, routing_key, redelivered, link.generation, None);
                        if sender.send(delivery).await.is_err() {
                            return Ok(());
                        }
                    }
                    Err(error) => tracing::warn!(%error, "reply dropped: unreadable"),
                }
            }
        }
    }

    /// Binds the queue until the deadline of all transient bindings of the exchange.
    async fn bind(&self) -> Result<(), RequestError> {
        let Some((exchange, routing_key)) = &self.binding else {
            return Ok(());
        };
        let keys = &self.state.keys;
        let mut bind = BIND_FOR_A_WHILE.key(keys.bindings(exchange));
        bind.key(keys.binding_deadlines()).arg(BindingMember::direct(routing_key, &self.queue).encode());
        bind.arg(exchange).arg(TRANSIENT_BINDING_MILLISECONDS);
        let bind = &bind;
        self.state
            .redis
            .request(|mut connection, _| async move { bind.invoke_async::<()>(&mut connection).await })
            .await
    }

    async fn stay_bound(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(TRANSIENT_BINDING_MILLISECONDS / 4)).await;
            if let Err(error) = self.bind().await {
                tracing::debug!(%error, "binding not renewed");
            }
        }
    }

    /// Deletes the queue and its binding, as an auto-delete queue goes with its consumer.
    async fn delete_queue(&self) {
        let mut delete = redis::pipe();
        if let Some((exchange, routing_key)) = &self.binding {
            let member = BindingMember::direct(routing_key, &self.queue).encode();
            delete.srem(self.state.keys.bindings(exchange), member).ignore();
        }
        delete.cmd("UNLINK").arg(&self.state.keys.queues(&self.queue)).ignore();
        let delete = &delete;
        let deleted = self
            .state
            .redis
            .request_even_closing(|mut connection| async move { delete.query_async::<()>(&mut connection).await })
            .await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "reply queue not deleted; it expires");
        }
    }
}
