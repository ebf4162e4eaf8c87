//! The consumers of a worker's queues.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::worker_core::WorkerCore;
use crate::broker::{BrokerError, Consumer, Delivery, TaskQueue};

/// Deliveries that may wait between the consumers and the main loop.
const MAX_WAITING_DELIVERIES: usize = 16;

/// An item that the main loop receives from a consumer.
pub(super) enum Intake {
    /// A delivery; its consumer stays open until the [`KeepOpen`] is dropped.
    Delivery(Arc<Delivery>, KeepOpen),
    /// The broker was closed.
    Closed,
}

/// Keeps a consumer open. Nothing is sent through it: the consumer notices when the last of them is dropped.
pub(super) type KeepOpen = mpsc::Sender<()>;

/// A queue being consumed.
struct ConsumedQueue {
    queue: TaskQueue,
    prefetch: u16,
    cancel: CancellationToken,
}

/// All queues being consumed.
pub(super) struct QueueConsumers {
    core: Arc<WorkerCore>,
    queues: Vec<ConsumedQueue>,
    forwarders: JoinSet<()>,
    sender: mpsc::Sender<Intake>,
}

impl QueueConsumers {
    /// Without a queue, and the channel on which its deliveries come.
    pub fn new(core: Arc<WorkerCore>) -> (Self, mpsc::Receiver<Intake>) {
        let (sender, deliveries) = mpsc::channel(MAX_WAITING_DELIVERIES);
        (Self { core, queues: Vec::new(), forwarders: JoinSet::new(), sender }, deliveries)
    }

    /// Consumes one more queue.
    pub async fn open(&mut self, queue: TaskQueue) -> Result<(), BrokerError> {
        let prefetch = self.core.registry.prefetch();
        let consumer = self.core.broker.consume(&queue, prefetch).await?;
        let cancel = CancellationToken::new();
        self.forwarders.spawn(forward(consumer, self.sender.clone(), cancel.clone()).in_current_span());
        self.queues.push(ConsumedQueue { queue, prefetch, cancel });
        Ok(())
    }

    /// Brings the consumers in line with the registry.
    pub async fn reconcile(&mut self) {
        let (wanted, prefetch) = (self.core.registry.queues(), self.core.registry.prefetch());
        self.queues.retain(|consumed| {
            let keep = consumed.prefetch == prefetch && wanted.contains(&consumed.queue);
            if !keep {
                tracing::info!(queue = consumed.queue.name, "no longer consuming");
                consumed.cancel.cancel();
            }
            keep
        });
        for queue in wanted {
            if self.queues.iter().any(|consumed| consumed.queue == queue) {
                continue;
            }
            let name = queue.name.clone();
            match self.open(queue).await {
                Ok(()) => tracing::info!(queue = name, prefetch, "consuming"),
                Err(error) => {
                    tracing::error!(queue = name, %error, "cannot consume");
                    self.core.registry.cancel_queue(&name);
                }
            }
        }
        while self.forwarders.try_join_next().is_some() {}
    }

    /// The names of the queues being consumed.
    pub fn names(&self) -> Vec<&str> {
        self.queues.iter().map(|consumed| consumed.queue.name.as_str()).collect()
    }

    /// Takes nothing more: the waiting deliveries go back to their queues, and each consumer ends with its last task.
    pub fn close(&mut self, deliveries: mpsc::Receiver<Intake>) {
        for consumed in self.queues.drain(..) {
            consumed.cancel.cancel();
        }
        self.forwarders.spawn(requeue_waiting(deliveries).in_current_span());
    }

    /// Returns when every consumer has ended.
    pub async fn ended(&mut self) {
        while self.forwarders.join_next().await.is_some() {}
    }

    /// Drops the consumers that have not ended.
    pub async fn abort(&mut self) {
        self.forwarders.shutdown().await;
    }
}

/// Forwards the deliveries of a consumer. After a cancel it takes nothing more, and keeps the consumer until its last task is
/// settled, so that the task can be acknowledged.
async fn forward(mut consumer: Box<dyn Consumer>, sender: mpsc::Sender<Intake>, cancel: CancellationToken) {
    let (keep_open, mut released) = mpsc::channel::<()>(1);
    loop {
        let intake = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            delivery = consumer.next() => match delivery {
                Some(delivery) => Intake::Delivery(Arc::new(delivery), keep_open.clone()),
                None => Intake::Closed,
            },
        };
        let closed = matches!(intake, Intake::Closed);
        let sent = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(intake),
            permit = sender.reserve() => match permit {
                Ok(permit) => {
                    permit.send(intake);
                    Ok(())
                }
                Err(_) => Err(intake),
            },
        };
        match sent {
            Ok(()) if !closed => {}
            // It goes back now: the consumer may stay for as long as its last task runs.
            Err(Intake::Delivery(delivery, _)) => {
                requeue_unstarted(&delivery).await;
                break;
            }
            _ => break,
        }
    }
    consumer.cancel().await;
    drop((keep_open, sender));
    let _ = released.recv().await;
}

/// Requeues the deliveries that the main loop did not take before the worker ended: their consumers stay for as long as their
/// last tasks run.
async fn requeue_waiting(mut deliveries: mpsc::Receiver<Intake>) {
    deliveries.close();
    while let Some(intake) = deliveries.recv().await {
        if let Intake::Delivery(delivery, _keep_open) = intake {
            requeue_unstarted(&delivery).await;
        }
    }
}

async fn requeue_unstarted(delivery: &Delivery) {
    if let Err(error) = delivery.reject(true).await {
        tracing::debug!(%error, "cannot requeue a task that was not started; it goes back with its consumer");
    }
}
