//! A consumer, as its user sees it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::topology::Mailbox;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, Span};

use super::{
    connection::AmqpConnection,
    driver::{AmqpConsumerDriver, ListeningReport, requeue},
    source::AmqpSource,
};
use crate::broker::{
    delivery::Delivery,
    traits::{CANCEL_TIMEOUT, Consumer},
};

/// Deliveries that may wait for a consumer of tasks or replies. Prefetch bounds the tasks that the broker sends; replies wait
/// at the broker.
const MAX_WAITING_DELIVERIES: usize = 64;
/// Broadcasts that may wait for a listener that does not take them; more are dropped.
const MAX_WAITING_BROADCASTS: usize = 4096;

/// A consumer that starts again after every loss of its channel or connection.
pub(super) struct AmqpConsumer {
    queue: String,
    span: Span,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    /// After a cancel: the driver has requeued everything that was not handed out.
    drained: CancellationToken,
    /// Ends the driver, and with it the channel.
    _end: DropGuard,
}

impl AmqpConsumer {
    /// A consumer of tasks or replies.
    pub fn start(connection: Arc<AmqpConnection>, source: AmqpSource) -> Self {
        Self::drive(connection, source, MAX_WAITING_DELIVERIES, None)
    }

    /// A consumer of broadcasts, and a report when it listens. The consumer ends if the broker refuses it.
    pub fn listen(
        connection: Arc<AmqpConnection>,
        mailbox: Mailbox,
    ) -> (Self, oneshot::Receiver<Result<(), lapin::Error>>) {
        let (report, listening) = oneshot::channel();
        let source = AmqpSource::Broadcasts(mailbox);
        (Self::drive(connection, source, MAX_WAITING_BROADCASTS, Some(report)), listening)
    }

    fn drive(
        connection: Arc<AmqpConnection>,
        source: AmqpSource,
        room: usize,
        listening: Option<ListeningReport>,
    ) -> Self {
        let (sender, deliveries) = mpsc::channel(room);
        let (cancel, end, drained) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let queue = source.queue().to_owned();
        let span = tracing::error_span!("consumer", queue.name = queue);
        let driver = AmqpConsumerDriver {
            connection,
            source,
            sender,
            listening,
            cancel: cancel.clone(),
            end: end.clone(),
            drained: drained.clone(),
        };
        tokio::spawn(driver.run().instrument(span.clone()));
        Self { queue, span, deliveries, cancel, drained, _end: end.drop_guard() }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                delivery = self.deliveries.recv() => delivery?,
            };
            // The broker delivers it again, so running it now would be work done twice.
            if !delivery.is_stale() {
                return Some(delivery);
            }
            tracing::debug!(
                parent: &self.span,
                generation = delivery.generation,
                "delivery dropped: its channel has ended"
            );
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
        // From here on the driver requeues what it receives. The broker learns of the cancel first; otherwise it would send the
        // requeued messages straight back.
        self.deliveries.close();
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, self.drained.cancelled()).await;
        while let Some(delivery) = self.deliveries.recv().await {
            requeue(&delivery).instrument(self.span.clone()).await;
        }
    }
}

impl fmt::Debug for AmqpConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConsumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}
