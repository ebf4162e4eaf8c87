//! The calling side: sends tasks and waits for their results, as Celery's `send_task(...).get(timeout)` does over `rpc://`.

mod pending;
mod send;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use celery_protocol::{Limits, ResultMeta, TaskRequest};
use serde_json::{Map, Value};
use tokio::sync::watch;

pub use pending::{CallError, PendingResult};
pub use send::SendOptions;

use crate::{
    broker::{BrokerError, Consumer, Delivery, Publish, PublishError, SharedBroker},
    clock,
};

/// Sends tasks. Has one reply queue, which goes with it; clones share it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    headers: Arc<Map<String, Value>>,
}

struct Shared {
    broker: SharedBroker,
    reply_queue: String,
    host: String,
    waiting: Arc<Waiting>,
    _receiving: tokio_util::task::AbortOnDropHandle<()>,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Waiting {
    results: Mutex<HashMap<String, watch::Sender<Option<ResultMeta>>>>,
}

impl Waiting {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<ResultMeta>>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client with a reply queue of its own. Returns at once even while the broker is away.
    ///
    /// # Errors
    /// If the broker was closed or refuses reply queues.
    pub async fn new(broker: SharedBroker) -> Result<Self, BrokerError> {
        let reply_queue = uuid::Uuid::new_v4().to_string();
        let consumer = broker.consume_replies(&reply_queue).await?;
        let waiting = Arc::new(Waiting::default());
        let receiving = tokio::spawn(receive(consumer, waiting.clone()));
        Ok(Self {
            shared: Arc::new(Shared {
                broker,
                reply_queue,
                host: crate::worker::host_name(),
                waiting,
                _receiving: tokio_util::task::AbortOnDropHandle::new(receiving),
            }),
            headers: Arc::default(),
        })
    }

    /// The same client with one more header on every task it sends. Headers in [`SendOptions`] win.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.headers).insert(name.into(), value.into());
        self
    }

    /// Sends a task to a queue; returns when the broker has confirmed that the queue has it.
    ///
    /// # Errors
    /// See [`PublishError`]: `Unroutable` if there is no such queue (no worker of that name ever ran).
    pub async fn send(
        &self,
        queue: &str,
        task: &str,
        args: Vec<Value>,
        kwargs: Map<String, Value>,
        options: SendOptions,
    ) -> Result<PendingResult, PublishError> {
        let id = options.task_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let mut builder = TaskRequest::builder(task, &id)
            .args(args)
            .kwargs(kwargs)
            .reply_to(&self.shared.reply_queue)
            .origin(std::process::id(), &self.shared.host);
        let now = clock::now();
        if let Some(expires) = options.expires_in {
            builder = builder.expires(after(now, expires)?, now);
        }
        if let Some(countdown) = options.countdown {
            builder = builder.eta(after(now, countdown)?);
        }
        if options.ignore_result {
            builder = builder.ignore_result(true);
        }
        if let Some((args, kwargs)) = options.shown_as {
            builder = builder.reprs(args, kwargs);
        }
        let general = self.headers.iter().filter(|(name, _)| !options.headers.contains_key(*name));
        for (name, value) in general {
            builder = builder.header(name.clone(), value.clone());
        }
        for (name, value) in options.headers {
            builder = builder.header(name, value);
        }
        let message =
            builder.build().to_message().map_err(|error| PublishError::Invalid { reason: error.to_string() })?;
        let mut publish = Publish::task(queue, message);
        if let Some(exchange) = options.exchange {
            publish.exchange = exchange;
        }
        // Registered before it is sent, so that no answer is too quick. Dropping it unregisters.
        let pending = PendingResult::register(&self.shared.waiting, task, id);
        if !options.ignore_result {
            // As Celery does before every task: the queue is gone after an outage, and a reply to it would be lost.
            self.shared.broker.declare_reply_queue(&self.shared.reply_queue).await.map_err(|error| match error {
                BrokerError::Closed => PublishError::Closed,
                BrokerError::Unavailable { reason } => PublishError::Unavailable { reason },
                other => PublishError::Refused { reason: other.to_string() },
            })?;
        }
        self.shared.broker.publish(publish).await?;
        Ok(pending)
    }

    /// Sends a task that expires with the deadline and waits for its result.
    ///
    /// # Errors
    /// See [`CallError`]. After a `Timeout` the task may still be running, but is not started any more.
    pub async fn call(
        &self,
        queue: &str,
        task: &str,
        kwargs: Map<String, Value>,
        deadline: Duration,
    ) -> Result<Value, CallError> {
        self.call_with(queue, task, kwargs, SendOptions::default(), deadline).await
    }

    /// As [`call`](Self::call), with options; their `expires_in` is replaced by the deadline.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        queue: &str,
        task: &str,
        kwargs: Map<String, Value>,
        options: SendOptions,
        deadline: Duration,
    ) -> Result<Value, CallError> {
        let until = tokio::time::Instant::now() + deadline;
        let options = SendOptions { expires_in: Some(deadline), ..options };
        let sending = self.send(queue, task, Vec::new(), kwargs, options);
        let mut pending = match tokio::time::timeout_at(until, sending).await {
            Ok(sent) => sent.map_err(CallError::Publish)?,
            Err(_) => {
                let state = self.shared.broker.connection_state();
                let state = state.borrow();
                return Err(if state.connected {
                    CallError::Timeout { task: task.to_owned() }
                } else {
                    CallError::Publish(PublishError::Unavailable {
                        reason: state.last_error.clone().unwrap_or_else(|| "no connection yet".to_owned()),
                    })
                });
            }
        };
        pending.get(until.saturating_duration_since(tokio::time::Instant::now())).await
    }

    /// The queue this client's results come to.
    #[must_use]
    pub fn reply_queue(&self) -> &str {
        &self.shared.reply_queue
    }

    /// The broker it sends through.
    #[must_use]
    pub fn broker(&self) -> &SharedBroker {
        &self.shared.broker
    }
}

fn after(now: jiff::Timestamp, wait: Duration) -> Result<jiff::Timestamp, PublishError> {
    now.checked_add(wait).map_err(|_| PublishError::Invalid { reason: "a time is too far in the future".to_owned() })
}

/// Hands every result to whoever waits for it, until the broker is closed.
async fn receive(mut consumer: Box<dyn Consumer>, waiting: Arc<Waiting>) {
    while let Some(delivery) = consumer.next().await {
        accept(&delivery, &waiting);
    }
    // Nobody will answer any more: everybody who waits learns it.
    waiting.lock().clear();
}

fn accept(delivery: &Delivery, waiting: &Waiting) {
    let meta = match ResultMeta::decode(&delivery.message, &Limits::default()) {
        Ok(meta) => meta,
        Err(error) => {
            tracing::warn!(%error, "dropped a reply that cannot be read");
            return;
        }
    };
    let waiting = waiting.lock();
    let Some(sender) = waiting.get(&meta.task_id) else {
        tracing::debug!(task.id = meta.task_id, "dropped a result nobody waits for");
        return;
    };
    sender.send_if_modified(|newest| {
        // The first final state stands: a task that ran twice answers twice.
        let news = !newest.as_ref().is_some_and(|old| old.state.is_ready());
        if news {
            *newest = Some(meta);
        }
        news
    });
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.shared.broker)
            .field("reply_queue", &self.shared.reply_queue)
            .finish_non_exhaustive()
    }
}
