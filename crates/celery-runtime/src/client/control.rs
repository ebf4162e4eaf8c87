//! Remote control of workers.

use std::{fmt, sync::Arc, time::Duration};

use celery_protocol::{
    LamportClock,
    control::{ControlReply, ControlRequest, LIMITS},
    topology::CONTROL_EXCHANGE,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    broker::{Broadcast, BrokerError, Guarantee, Publish, PublishError, SharedBroker, Subscription},
    clock,
};

/// The most answers kept of one request.
const MAX_REPLIES: usize = 10_000;

/// Why a control request failed. No answer at all is not a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlFailure {
    /// Answers cannot be received.
    #[error("cannot receive answers of workers: {0}")]
    Listen(#[from] BrokerError),
    /// The request cannot be sent.
    #[error("cannot send the control request: {0}")]
    Send(#[from] PublishError),
}

/// Sends control requests. By default to all workers, with a second for them to answer.
#[derive(Clone)]
pub struct Control {
    broker: SharedBroker,
    clock: Arc<LamportClock>,
    destination: Option<Vec<String>>,
    pattern: Option<(String, String)>,
    timeout: Duration,
}

impl Control {
    pub(super) fn new(broker: SharedBroker) -> Self {
        Self::with_clock(broker, Arc::default())
    }

    pub(crate) fn with_clock(broker: SharedBroker, clock: Arc<LamportClock>) -> Self {
        Self { broker, clock, destination: None, pattern: None, timeout: Duration::from_secs(1) }
    }

    /// Addresses the workers of these node names only, and stops waiting once all of them have answered.
    #[must_use]
    pub fn to(mut self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.destination = Some(nodes.into_iter().map(Into::into).collect());
        self
    }

    /// Addresses only the workers whose node name matches a glob.
    #[must_use]
    pub fn matching(mut self, glob: impl Into<String>) -> Self {
        self.pattern = Some((glob.into(), "glob".to_owned()));
        self
    }

    /// How long to wait for answers: the whole time, unless workers were named.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request and collects the answers, sorted by node name. Returns as soon as all named workers have answered, otherwise
    /// after the timeout.
    ///
    /// # Errors
    /// See [`ControlFailure`].
    pub async fn broadcast(
        &self,
        method: &str,
        arguments: Map<String, Value>,
    ) -> Result<Vec<ControlReply>, ControlFailure> {
        let (client, ticket) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        // Listens before it sends, so that no answer comes too early. A queue of its own each time needs no recovery.
        let subscription = Subscription::ControlReplies { client: client.clone() };
        let mut answers = self.broker.subscribe(&subscription).await?;
        let request = self.request(method, arguments).answered_to(client, &ticket);
        self.publish(&request).await?;
        let until = Instant::now() + self.timeout;
        let mut replies: Vec<ControlReply> = Vec::new();
        while replies.len() < MAX_REPLIES && self.destination.as_ref().is_none_or(|to| replies.len() < to.len()) {
            let Ok(Some(delivery)) = tokio::time::timeout_at(until, answers.next()).await else {
                break;
            };
            match ControlReply::decode(&delivery.message, &LIMITS) {
                Ok(reply) if reply.ticket.as_ref() == Some(&ticket) => {
                    self.clock.adjust(reply.clock);
                    replies.push(reply);
                }
                Ok(_) => tracing::debug!(method, "control answer dropped: it answers another request"),
                Err(error) => tracing::warn!(method, %error, "control answer dropped: it cannot be read"),
            }
        }
        answers.cancel().await;
        replies.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(replies)
    }

    /// Sends a request without waiting for answers.
    ///
    /// # Errors
    /// See [`ControlFailure`].
    pub async fn cast(&self, method: &str, arguments: Map<String, Value>) -> Result<(), ControlFailure> {
        self.publish(&self.request(method, arguments)).await
    }

    /// Calls one of the methods without arguments: `ping`, `active`, `reserved`, `scheduled`, `registered`, `revoked`,
    /// `stats`, `active_queues`, `conf`, `report`, `clock`.
    ///
    /// # Errors
    /// See [`ControlFailure`].
    pub async fn inspect(&self, method: &str) -> Result<Vec<ControlReply>, ControlFailure> {
        self.broadcast(method, Map::new()).await
    }

    /// Revokes tasks by id; with `terminate` running ones are stopped too. Workers may refuse.
    ///
    /// # Errors
    /// See [`ControlFailure`].
    pub async fn revoke(&self, ids: &[String], terminate: bool) -> Result<Vec<ControlReply>, ControlFailure> {
        let arguments = Map::from_iter([
            ("task_id".to_owned(), json!(ids)),
            ("terminate".to_owned(), Value::from(terminate)),
            ("signal".to_owned(), Value::from("SIGTERM")),
        ]);
        self.broadcast("revoke", arguments).await
    }

    /// Makes workers send events of their tasks from now on. Does not wait for answers.
    ///
    /// # Errors
    /// See [`ControlFailure`].
    pub async fn enable_events(&self) -> Result<(), ControlFailure> {
        self.cast("enable_events", Map::new()).await
    }

    fn request(&self, method: &str, arguments: Map<String, Value>) -> ControlRequest {
        let (pattern, matcher) = self.pattern.clone().unzip();
        ControlRequest {
            arguments,
            destination: self.destination.clone(),
            pattern,
            matcher,
            clock: self.clock.forward(),
            expires: clock::unix_seconds(clock::now()) + self.timeout.as_secs_f64(),
            ..ControlRequest::new(method)
        }
    }

    async fn publish(&self, request: &ControlRequest) -> Result<(), ControlFailure> {
        self.broker.declare_broadcast(Broadcast::ControlRequests).await?;
        let publish = Publish {
            exchange: CONTROL_EXCHANGE.to_owned(),
            routing_key: String::new(),
            message: request.to_message(),
            guarantee: Guarantee::Confirmed { mandatory: false },
        };
        Ok(self.broker.publish(publish).await?)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("destination", &self.destination)
            .field("pattern", &self.pattern)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
