//! A received message, which can be settled once.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use celery_protocol::message::Message;

use super::error::AckError;

/// How a transport settles one delivery. Implemented by brokers; used through [`Delivery`].
#[async_trait]
pub trait Settle: Send + Sync {
    /// Acknowledges: the broker forgets the message.
    async fn ack(&self) -> Result<(), AckError>;
    /// Requeues the message, or drops it without `requeue`.
    async fn reject(&self, requeue: bool) -> Result<(), AckError>;
    /// Whether the connection the delivery came over is known to have ended.
    fn is_stale(&self) -> bool;
}

/// One received message.
///
/// Unless it is settled the broker delivers it again once its consumer or connection is gone. Dropping a `Delivery` settles
/// nothing.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The exchange it was published to; empty is the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The number of the connection or channel it came over, counted over the broker's lifetime.
    pub generation: u64,
    settle: Option<Box<dyn Settle>>,
    settled: AtomicBool,
}

impl Delivery {
    /// A delivery that `settle` settles; `None` for a consumer without acknowledgements, for which settling does nothing.
    #[must_use]
    pub fn new(
        message: Message,
        exchange: String,
        routing_key: String,
        redelivered: bool,
        generation: u64,
        settle: Option<Box<dyn Settle>>,
    ) -> Self {
        Self { message, exchange, routing_key, redelivered, generation, settle, settled: AtomicBool::new(false) }
    }

    /// Acknowledges: the broker forgets the message.
    ///
    /// # Errors
    /// [`AckError::Stale`] if its connection has ended, in which case nothing is sent and the broker delivers it again.
    pub async fn ack(&self) -> Result<(), AckError> {
        match self.take()? {
            Some(settle) => settle.ack().await,
            None => Ok(()),
        }
    }

    /// Rejects: back to the queue with `requeue`, otherwise dropped (or dead-lettered, if the queue says so).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn reject(&self, requeue: bool) -> Result<(), AckError> {
        match self.take()? {
            Some(settle) => settle.reject(requeue).await,
            None => Ok(()),
        }
    }

    /// Whether the connection it came over is known to have ended, so that settling it would fail.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.settle.as_ref().is_some_and(|settle| settle.is_stale())
    }

    fn take(&self) -> Result<Option<&dyn Settle>, AckError> {
        if self.settled.swap(true, Ordering::AcqRel) {
            return Err(AckError::AlreadySettled);
        }
        Ok(self.settle.as_deref())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("redelivered", &self.redelivered)
            .field("generation", &self.generation)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}
