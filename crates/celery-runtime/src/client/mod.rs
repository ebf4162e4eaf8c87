//! The calling side: sends tasks and waits for their results, as Celery's `send_task(...).get(timeout)` does over `rpc://`.

mod control;
mod events;
mod pending;
mod send;
mod workflow;

use std::{fmt, sync::Arc, time::Duration};

use celery_protocol::{Routes, TaskRequest, delayed};
use serde_json::{Map, Value};

pub use celery_protocol::control::ControlReply;
pub use control::{Control, ControlFailure};
pub use events::EventStream;
pub use pending::{CallError, PendingResult};
pub use send::SendOptions;
pub use workflow::{ApplyError, WorkflowResult};

use crate::{
    backend::{BackendError, Expectation, SharedBackend, rpc::RpcBackend},
    broker::{BrokerError, Publish, PublishError, SharedBroker},
    clock,
};

/// Sends tasks. Has one reply queue, which goes with it; clones share it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    headers: Arc<Map<String, Value>>,
    routes: Arc<Routes>,
}

struct Shared {
    broker: SharedBroker,
    backend: SharedBackend,
    host: String,
}

impl Client {
    /// A client with a reply queue of its own. Returns at once even while the broker is away.
    ///
    /// # Errors
    /// If the broker was closed or refuses reply queues.
    pub async fn new(broker: SharedBroker) -> Result<Self, BrokerError> {
        let backend = RpcBackend::new(broker.clone());
        backend.receive().await.map_err(|error| match error {
            BackendError::Closed => BrokerError::Closed,
            BackendError::Unavailable { reason } => BrokerError::Unavailable { reason },
            other => BrokerError::Refused { what: "the reply queue".to_owned(), reason: other.to_string() },
        })?;
        Ok(Self::with_backend(broker, Arc::new(backend)))
    }

    /// A client whose results come by `backend`, which has to be the one the workers store to.
    #[must_use]
    pub fn with_backend(broker: SharedBroker, backend: SharedBackend) -> Self {
        let host = crate::host::name();
        Self { shared: Arc::new(Shared { broker, backend, host }), headers: Arc::default(), routes: Arc::default() }
    }

    /// The same client with one more header on every task it sends. Headers in [`SendOptions`] win.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.headers).insert(name.into(), value.into());
        self
    }

    /// The same client with these routes for signatures that name no queue; without, those go to Celery's default queue.
    #[must_use]
    pub fn with_routes(mut self, routes: Routes) -> Self {
        self.routes = Arc::new(routes);
        self
    }

    fn origin(&self) -> String {
        format!("gen{}@{}", std::process::id(), self.shared.host)
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
            .reply_to(self.shared.backend.reply_to())
            .origin(std::process::id(), &self.shared.host);
        let now = clock::now();
        if let Some(expires) = options.expires_in {
            builder = builder.expires(after(now, expires)?, now);
        }
        let eta = options.countdown.map(|wait| after(now, wait)).transpose()?.or(options.eta);
        if let Some(eta) = eta {
            builder = builder.eta(eta);
        }
        let wait = eta.and_then(|eta| Duration::try_from(eta.duration_since(now)).ok());
        let delayed = wait.filter(|_| options.delayed).and_then(|wait| delayed::delayed_key(wait, queue));
        builder = builder.priority(options.priority).time_limit(options.time_limits.0, options.time_limits.1);
        for (name, value) in options.stamps {
            builder = builder.stamp(name, value);
        }
        for signature in options.link {
            builder = builder.link(signature);
        }
        for signature in options.link_error {
            builder = builder.link_error(signature);
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
        let mut request = builder.build();
        if !options.drop_expired {
            // The broker would drop it without telling anybody; a worker answers.
            request.properties.expiration = None;
        }
        let invalid = |reason: String| PublishError::Invalid { reason };
        let mut message = request.to_message().map_err(|error| invalid(error.to_string()))?;
        if let Some(name) = &options.compression {
            message = message.compressed(name).map_err(|error| invalid(error.to_string()))?;
        }
        let mut publish = Publish::task(queue, message);
        if let Some(exchange) = options.exchange {
            publish.exchange = exchange;
        }
        if let Some(key) = delayed {
            publish.exchange = delayed::DELAYED_EXCHANGE.to_owned();
            publish.routing_key = key;
        }
        // Waited for before it is sent, so that no answer is too quick.
        let expected = if options.ignore_result {
            Expectation::never()
        } else {
            self.shared.backend.expect(&id).await.map_err(not_expected)?
        };
        self.shared.broker.publish(publish).await?;
        Ok(PendingResult::new(task, id, expected))
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
        let options = SendOptions { expires_in: Some(deadline), drop_expired: true, ..options };
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
        self.shared.backend.reply_to()
    }

    /// Asks and steers workers.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.shared.broker.clone())
    }

    /// The events whose routing key fits the pattern: `#` for all, `worker.#` for those of workers alone. Workers tell of
    /// tasks only when asked to: see [`Control::enable_events`].
    ///
    /// # Errors
    /// As [`Broker::subscribe`](crate::broker::Broker::subscribe).
    pub async fn events(&self, binding: &str) -> Result<EventStream, BrokerError> {
        EventStream::open(&self.shared.broker, binding).await
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

fn not_expected(error: BackendError) -> PublishError {
    match error {
        BackendError::Closed => PublishError::Closed,
        BackendError::Unavailable { reason } => PublishError::Unavailable { reason },
        other => PublishError::Refused { reason: other.to_string() },
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.shared.broker)
            .field("backend", &self.shared.backend)
            .finish_non_exhaustive()
    }
}
