//! A consumer, as its user sees it: of tasks, replies or broadcasts.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, Span};

use crate::broker::{
    delivery::Delivery,
    traits::{CANCEL_TIMEOUT, Consumer},
};

/// The receiving end of a driver task.
pub(super) struct RedisConsumer {
    /// The queue, or the pattern of channels.
    source: String,
    span: Span,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    /// Cancelled when nothing more comes into `deliveries`.
    idle: CancellationToken,
    /// Ends the driver, which requeues unsettled deliveries.
    _end: DropGuard,
}

/// The tokens by which a driver task learns of the end of its consumer.
#[derive(Clone)]
pub(super) struct ConsumerTokens {
    /// The consumer takes nothing more.
    pub cancel: CancellationToken,
    /// The consumer was dropped.
    pub end: CancellationToken,
    /// Cancelled by a driver that requeues deliveries after a cancel, when nothing more will come.
    pub idle: CancellationToken,
}

impl ConsumerTokens {
    pub fn new() -> Self {
        Self { cancel: CancellationToken::new(), end: CancellationToken::new(), idle: CancellationToken::new() }
    }
}

impl RedisConsumer {
    pub fn new(source: String, span: Span, deliveries: mpsc::Receiver<Delivery>, tokens: ConsumerTokens) -> Self {
        let ConsumerTokens { cancel, end, idle } = tokens;
        Self { source, span, deliveries, cancel, idle, _end: end.drop_guard() }
    }
}

#[async_trait]
impl Consumer for RedisConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            delivery = self.deliveries.recv() => delivery,
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
        // Deliveries that were not handed out are requeued now, those being taken included: the consumer may stay as long as
        // the last task that came by it.
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, self.idle.cancelled()).await;
        let requeue = async {
            while let Ok(delivery) = self.deliveries.try_recv() {
                if let Err(error) = delivery.reject(true).await {
                    tracing::debug!(%error, "failed to requeue a prefetched message; it returns with its consumer");
                }
            }
        };
        requeue.instrument(self.span.clone()).await;
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer").field("source", &self.source).finish_non_exhaustive()
    }
}
