//! The worker's loop: take, dispatch, do what the registry wishes, shut down warmly or coldly.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument as _;

use super::{Shared, Worker, execute::Execution, monitoring::Monitoring};
use crate::broker::{BrokerError, Consumer, Delivery, TaskQueue};

/// Deliveries that may lie between the consumers and the loop.
const ON_THE_WAY: usize = 16;
/// How long cancelled handlers get to stop before they are dropped at their next await.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// Why a worker ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The queue cannot be consumed at all.
    #[error("cannot consume the queue: {0}")]
    Consume(#[from] BrokerError),
    /// The broker connection was closed for good by this process.
    #[error("the broker connection was closed")]
    BrokerClosed,
    /// The grace period passed before every task had finished. They are delivered again.
    #[error("{tasks} tasks had not finished within the grace period")]
    GraceExceeded {
        /// How many were given up.
        tasks: usize,
    },
}

impl Worker {
    /// Works until `shutdown` is cancelled or the [`Registry`](super::Registry) is told so, then ends warmly: takes nothing
    /// more, lets running tasks finish and acknowledge within the grace period, and gives back what was not started. A cold
    /// shutdown tells running tasks to stop instead; they are delivered again.
    ///
    /// Any tokio runtime will do. One thread is enough for short tasks that compute little, and saves what handing over from
    /// one to another costs.
    ///
    /// Waits for a broker that is away, at start and later. Dropping the returned future gives everything back.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        // A task of its own: what is waited for with `block_on` runs on a thread beside the runtime's, and each delivery
        // would have to wake it.
        let working = AbortOnDropHandle::new(tokio::spawn(self.work(shutdown).in_current_span()));
        match working.await.map_err(JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and everything with it.
            Err(Err(_)) => Err(WorkerError::BrokerClosed),
        }
    }

    async fn work(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let shared = self.shared;
        let registry = shared.registry.clone();
        let (sender, mut deliveries) = mpsc::channel(ON_THE_WAY);
        let mut lines = Lines { shared: shared.clone(), open: Vec::new(), pumps: JoinSet::new(), sender };
        for queue in registry.queues() {
            lines.open(queue).await?;
        }
        tracing::info!(worker = shared.name, queues = ?lines.names(), "worker started");
        let monitoring = Monitoring::start(&shared);
        // Stopping ends what only waits, and does so at once: a task that waits its turn must not start because the one before
        // it ended before this loop saw the shutdown. Cancelled reaches handlers that run.
        let (stopping, cancelled) = (shutdown.child_token(), CancellationToken::new());
        let _stop_if_dropped = (stopping.clone().drop_guard(), cancelled.clone().drop_guard());
        registry.stops(&stopping);
        let mut tasks = JoinSet::new();
        let mut outcome = loop {
            let (delivery, hold) = tokio::select! {
                biased;
                () = stopping.cancelled() => break Ok(()),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(worker = shared.name, %error, "a task ended without being settled");
                    }
                    continue;
                }
                () = registry.changed.notified() => {
                    lines.reconcile().await;
                    continue;
                }
                // The lines hold a sender, so this always waits.
                Some(taken) = deliveries.recv() => match taken {
                    Taken::Delivery(delivery, hold) => (delivery, hold),
                    Taken::End => break Err(WorkerError::BrokerClosed),
                },
            };
            shared.counters.received.fetch_add(1, Relaxed);
            if delivery.redelivered {
                shared.counters.redelivered.fetch_add(1, Relaxed);
            }
            let execution = Execution::new(Arc::clone(&shared), delivery, stopping.clone(), cancelled.clone()).await;
            tasks.spawn(async move {
                execution.run().await;
                drop(hold);
            });
        };
        lines.close();
        lines.pumps.spawn(give_back_untaken(deliveries));
        stopping.cancel();
        tracing::info!(worker = shared.name, tasks = tasks.len(), "worker is finishing");
        let done = outcome.is_ok()
            && tokio::select! {
                biased;
                () = registry.cold.cancelled() => false,
                done = finish(&mut tasks, shared.grace) => done,
            };
        if !done {
            cancelled.cancel();
            let _ = finish(&mut tasks, CANCEL_GRACE).await;
            if outcome.is_ok() && !tasks.is_empty() && !registry.cold.is_cancelled() {
                outcome = Err(WorkerError::GraceExceeded { tasks: tasks.len() });
            }
            tasks.shutdown().await;
        }
        // Nothing holds a consumer any more: what was not settled goes back now.
        let given_back = async { while lines.pumps.join_next().await.is_some() {} };
        if tokio::time::timeout(CANCEL_GRACE, given_back).await.is_err() {
            // The broker takes no word from us, as one that blocks publishers does. It gives back what we held when we are gone.
            tracing::warn!(worker = shared.name, "the broker was not told what was not begun");
            lines.pumps.shutdown().await;
        }
        monitoring.end().await;
        tracing::info!(worker = shared.name, "worker ended");
        outcome
    }
}

/// What comes from the consumers.
enum Taken {
    /// A message; the line it came by stays open until the hold is dropped.
    Delivery(Arc<Delivery>, Hold),
    /// The broker was closed.
    End,
}

/// Never sent through: the other end notices when the last of them is gone.
type Hold = mpsc::Sender<()>;

/// A queue being consumed.
struct Line {
    queue: TaskQueue,
    prefetch: u16,
    cancel: CancellationToken,
}

/// All queues being consumed.
struct Lines {
    shared: Arc<Shared>,
    open: Vec<Line>,
    pumps: JoinSet<()>,
    sender: mpsc::Sender<Taken>,
}

impl Lines {
    async fn open(&mut self, queue: TaskQueue) -> Result<(), BrokerError> {
        let prefetch = self.shared.registry.prefetch();
        let consumer = self.shared.broker.consume(&queue, prefetch).await?;
        let cancel = CancellationToken::new();
        self.pumps.spawn(pump(consumer, self.sender.clone(), cancel.clone()));
        self.open.push(Line { queue, prefetch, cancel });
        Ok(())
    }

    /// Consumes what the registry wishes, as it wishes.
    async fn reconcile(&mut self) {
        let (wanted, prefetch) = (self.shared.registry.queues(), self.shared.registry.prefetch());
        self.open.retain(|line| {
            let keep = line.prefetch == prefetch && wanted.contains(&line.queue);
            if !keep {
                tracing::info!(worker = self.shared.name, queue = line.queue.name, "no longer consuming");
                line.cancel.cancel();
            }
            keep
        });
        for queue in wanted {
            if self.open.iter().any(|line| line.queue == queue) {
                continue;
            }
            let name = queue.name.clone();
            match self.open(queue).await {
                Ok(()) => tracing::info!(worker = self.shared.name, queue = name, prefetch, "consuming"),
                Err(error) => {
                    tracing::error!(worker = self.shared.name, queue = name, %error, "cannot consume");
                    self.shared.registry.cancel_queue(&name);
                }
            }
        }
        while self.pumps.try_join_next().is_some() {}
    }

    fn names(&self) -> Vec<&str> {
        self.open.iter().map(|line| line.queue.name.as_str()).collect()
    }

    fn close(&mut self) {
        for line in self.open.drain(..) {
            line.cancel.cancel();
        }
    }
}

/// Hands on what a consumer gets. After a cancel it takes nothing more, and keeps the consumer until the last task that came
/// by it is done with, so that it can be acknowledged.
async fn pump(mut consumer: Box<dyn Consumer>, sender: mpsc::Sender<Taken>, cancel: CancellationToken) {
    let (hold, mut released) = mpsc::channel::<()>(1);
    loop {
        let taken = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            delivery = consumer.next() => match delivery {
                Some(delivery) => Taken::Delivery(Arc::new(delivery), hold.clone()),
                None => Taken::End,
            },
        };
        let end = matches!(taken, Taken::End);
        let place = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(taken),
            place = sender.reserve() => match place {
                Ok(place) => {
                    place.send(taken);
                    Ok(())
                }
                Err(_) => Err(taken),
            },
        };
        match place {
            Ok(()) if !end => {}
            // Given back at once: the consumer may stay for as long as its last task runs.
            Err(Taken::Delivery(delivery, _)) => {
                if let Err(error) = delivery.reject(true).await {
                    tracing::debug!(%error, "what was not taken up goes back with its consumer");
                }
                break;
            }
            _ => break,
        }
    }
    consumer.cancel().await;
    drop((hold, sender));
    let _ = released.recv().await;
}

/// What lies between the consumers and the loop when the worker ends goes back at once: its consumer stays for as long as
/// its last task runs.
async fn give_back_untaken(mut deliveries: mpsc::Receiver<Taken>) {
    deliveries.close();
    while let Some(taken) = deliveries.recv().await {
        if let Taken::Delivery(delivery, _hold) = taken
            && let Err(error) = delivery.reject(true).await
        {
            tracing::debug!(%error, "what was not taken up goes back with its consumer");
        }
    }
}

/// Whether all tasks ended in time.
async fn finish(tasks: &mut JoinSet<()>, within: Duration) -> bool {
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(within, all).await.is_ok()
}
