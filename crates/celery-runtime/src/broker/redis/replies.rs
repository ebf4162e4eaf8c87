//! A consumer of a reply queue: nothing is acknowledged, and the queue goes with it.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::{
    Limits,
    redis::{BindingMember, Envelope, keys::TRANSIENT_BINDING_MILLISECONDS, scripts},
};
use redis::Script;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Shared, consumer::Waiting};
use crate::{
    broker::{Consumer, Delivery, backoff::Backoff},
    redis::{Link, patience, words},
};

static BIND_FOR_A_WHILE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::BIND_FOR_A_WHILE));
static TAKE_FOR_GOOD: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::TAKE_FOR_GOOD));

/// How many replies one step takes at most.
const AT_ONCE: usize = 32;

pub(super) struct ReplyConsumer {
    queue: String,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    driver: Arc<Driver>,
    _end: DropGuard,
}

impl ReplyConsumer {
    /// `exchange` and routing key are what the queue is bound to for as long as it is consumed; none for one that is found by
    /// its name.
    pub fn start(shared: Arc<Shared>, queue: String, binding: Option<(String, String)>) -> Self {
        let (sender, deliveries) = mpsc::channel(AT_ONCE);
        let (cancel, end) = (CancellationToken::new(), CancellationToken::new());
        let driver = Driver { shared: shared.clone(), queue: queue.clone(), binding, bound: Notify::new() };
        let driver = Arc::new(driver);
        let bound = driver.clone();
        let (stop, cancelled) = (end.clone(), cancel.clone());
        shared.redis.tasks.clone().spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = cancelled.cancelled() => {}
                () = shared.redis.closed.cancelled() => {}
                () = driver.consume(&sender) => {}
                () = driver.stay_bound() => {}
            }
            // Nothing more comes: whoever waits for the next learns it by this.
            drop(sender);
            driver.forget().await;
        });
        Self { queue, deliveries, cancel, driver: bound, _end: end.drop_guard() }
    }

    /// Returns when it is bound, or the broker was closed.
    pub async fn bound(&self) {
        tokio::select! {
            () = self.driver.bound.notified() => {}
            () = self.driver.shared.redis.closed.cancelled() => {}
        }
    }
}

#[async_trait]
impl Consumer for ReplyConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            delivery = self.deliveries.recv() => delivery,
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for ReplyConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyConsumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}

struct Driver {
    shared: Arc<Shared>,
    queue: String,
    binding: Option<(String, String)>,
    bound: Notify,
}

impl Driver {
    async fn consume(&self, sender: &mpsc::Sender<Delivery>) {
        let mut backoff = Backoff::new(&self.shared.redis.options);
        while let Some(link) = self.shared.redis.link().await {
            let since = tokio::time::Instant::now();
            let reason = match self.subscribe(&link, sender).await {
                Ok(()) => return,
                Err(reason) => reason,
            };
            if since.elapsed() > self.shared.redis.options.max_retry {
                backoff.reset();
            }
            tracing::debug!(queue = self.queue, %reason, "reply consumer lost its connection, taking up again");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Hands out replies until the connection is lost, which is the error, or nobody wants them any more.
    async fn subscribe(&self, link: &Link, sender: &mpsc::Sender<Delivery>) -> Result<(), String> {
        self.bind().await?;
        self.bound.notify_one();
        let mut waiting = Waiting::new(self.shared.redis.open().await?, patience(&self.shared.redis.options));
        let lists = self.shared.keys.queues(&self.queue);
        loop {
            let mut script = TAKE_FOR_GOOD.prepare_invoke();
            for list in &lists {
                script.key(list);
            }
            script.arg(AT_ONCE).arg(Envelope::max_bytes(&Limits::default()));
            let taken: redis::RedisResult<Vec<Vec<u8>>> = script.invoke_async(&mut link.connection.clone()).await;
            let taken = taken.map_err(|error| words(&error))?;
            if taken.is_empty() {
                tokio::select! {
                    () = link.lost.cancelled() => return Err("the connection was lost".to_owned()),
                    outcome = waiting.wait(&lists[0]) => outcome?,
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
                    Err(error) => tracing::warn!(queue = self.queue, %error, "dropped a reply that cannot be read"),
                }
            }
        }
    }

    /// Binds the queue until the deadline all transient bindings of the exchange have.
    async fn bind(&self) -> Result<(), String> {
        let Some((exchange, routing_key)) = &self.binding else {
            return Ok(());
        };
        let keys = &self.shared.keys;
        let mut bind = BIND_FOR_A_WHILE.key(keys.bindings(exchange));
        bind.key(keys.binding_deadlines()).arg(BindingMember::direct(routing_key, &self.queue).encode());
        bind.arg(exchange).arg(TRANSIENT_BINDING_MILLISECONDS);
        let bind = &bind;
        let outcome = self
            .shared
            .redis
            .request(|mut connection, _| async move { bind.invoke_async::<()>(&mut connection).await })
            .await;
        outcome.map_err(|error| error.to_string())
    }

    async fn stay_bound(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(TRANSIENT_BINDING_MILLISECONDS / 4)).await;
            if let Err(error) = self.bind().await {
                tracing::debug!(queue = self.queue, %error, "a binding could not be renewed");
            }
        }
    }

    /// The queue goes with its consumer, as an auto-deleted one does.
    async fn forget(&self) {
        let mut delete = redis::pipe();
        if let Some((exchange, routing_key)) = &self.binding {
            let member = BindingMember::direct(routing_key, &self.queue).encode();
            delete.srem(self.shared.keys.bindings(exchange), member).ignore();
        }
        delete.cmd("UNLINK").arg(&self.shared.keys.queues(&self.queue)).ignore();
        let delete = &delete;
        let gone = self
            .shared
            .redis
            .request_even_closing(|mut connection| async move { delete.query_async::<()>(&mut connection).await })
            .await;
        if let Err(error) = gone {
            tracing::debug!(queue = self.queue, %error, "a reply queue was left, it goes by itself");
        }
    }
}
