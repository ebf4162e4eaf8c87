//! A client and its connections.

use std::{fmt, sync::Arc};

use celery_protocol::Routes;
use serde_json::{Map, Value};

use super::{control::Control, event_stream::EventStream};
use crate::{
    backend::{BackendError, SharedBackend, rpc::RpcBackend},
    broker::{BrokerError, SharedBroker},
    host,
};

/// Sends tasks. Has one reply queue, which ends with it; clones share it.
#[derive(Clone)]
pub struct Client {
    pub(super) core: Arc<ClientCore>,
    pub(super) headers: Arc<Map<String, Value>>,
    pub(super) routes: Arc<Routes>,
}

/// The state shared by clones of a client.
pub(super) struct ClientCore {
    pub broker: SharedBroker,
    pub backend: SharedBackend,
    pub host: String,
}

impl Client {
    /// A client with a reply queue of its own. Returns immediately, also while the broker is away.
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

    /// A client that reads results from `backend`, in which the workers must store them.
    #[must_use]
    pub fn with_backend(broker: SharedBroker, backend: SharedBackend) -> Self {
        let core = ClientCore { broker, backend, host: host::name() };
        Self { core: Arc::new(core), headers: Arc::default(), routes: Arc::default() }
    }

    /// The same client with one more header on every task it sends. Headers in [`SendOptions`](super::SendOptions) win.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.headers).insert(name.into(), value.into());
        self
    }

    /// The same client with these routes for signatures that name no queue; by default those go to Celery's default queue.
    #[must_use]
    pub fn with_routes(mut self, routes: Routes) -> Self {
        self.routes = Arc::new(routes);
        self
    }

    /// The origin of the tasks it sends.
    pub(super) fn origin(&self) -> String {
        format!("gen{}@{}", std::process::id(), self.core.host)
    }
    /// The queue to which this client's results are sent.
    #[must_use]
    pub fn reply_queue(&self) -> &str {
        self.core.backend.reply_to()
    }

    /// Remote control of workers.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.core.broker.clone())
    }

    /// The events whose routing key matches the pattern: `#` for all, `worker.#` for those of workers alone. Workers send
    /// events of tasks only when asked to: see [`Control::enable_events`].
    ///
    /// # Errors
    /// As [`Broker::subscribe`](crate::broker::Broker::subscribe).
    pub async fn events(&self, binding: &str) -> Result<EventStream, BrokerError> {
        EventStream::open(&self.core.broker, binding).await
    }

    /// The broker it sends through.
    #[must_use]
    pub fn broker(&self) -> &SharedBroker {
        &self.core.broker
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.core.broker)
            .field("backend", &self.core.backend)
            .finish_non_exhaustive()
    }
}
