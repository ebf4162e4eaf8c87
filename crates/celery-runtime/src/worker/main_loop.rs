//! The main loop of a worker: takes deliveries, starts tasks, follows the registry, shuts down warmly or coldly.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::task::{JoinError, JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument as _;

use super::{
    celery_worker::Worker,
    consumers::{Intake, QueueConsumers},
    delivery_run::DeliveryRun,
    error::WorkerError,
    monitoring::Monitoring,
    span,
    worker_core::WorkerCore,
};

/// How long cancelled handlers have to stop before they are dropped at their next await.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Works until `shutdown` is cancelled or [`WorkerRegistry::shut_down`](super::WorkerRegistry::shut_down) is called, then
    /// ends warmly: it takes nothing more, lets running tasks finish and acknowledge within the grace period, and requeues
    /// the tasks that were not started. A cold shutdown stops running tasks instead; they are redelivered.
    ///
    /// Any tokio runtime will do. One thread is enough for short tasks that compute little, and saves the cost of moving them
    /// between threads.
    ///
    /// Waits for a broker that is away, at start and later. Dropping the returned future gives everything back.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let span = self.core.span.clone().unwrap_or_else(|| span::worker(&self.core.name));
        // In a task of its own: a future given to `block_on` runs on a thread beside the runtime's, and each delivery would
        // have to wake that thread.
        let working = AbortOnDropHandle::new(tokio::spawn(work(self.core, shutdown).instrument(span)));
        match working.await.map_err(JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and everything with it.
            Err(Err(_)) => Err(WorkerError::BrokerClosed),
        }
    }
}

async fn work(core: Arc<WorkerCore>, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let registry = core.registry.clone();
    let (mut consumers, mut deliveries) = QueueConsumers::new(core.clone());
    for queue in registry.queues() {
        consumers.open(queue).await?;
    }
    tracing::info!(queues = consumers.names().join(","), "worker started");
    let monitoring = Monitoring::start(&core);
    // `stopping` ends waiting tasks immediately: a task that waits for its turn must not start because the one before it ended
    // before this loop saw the shutdown. `cancelled` stops running handlers.
    let (stopping, cancelled) = (shutdown.child_token(), CancellationToken::new());
    let _stop_if_dropped = (stopping.clone().drop_guard(), cancelled.clone().drop_guard());
    registry.stops(&stopping);
    let mut tasks = JoinSet::new();
    let mut outcome = loop {
        let (delivery, keep_open) = tokio::select! {
            biased;
            () = stopping.cancelled() => break Ok(()),
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a task ended without being settled");
                }
                continue;
            }
            () = registry.changed.notified() => {
                consumers.reconcile().await;
                continue;
            }
            // The consumers hold a sender, so this always waits.
            Some(intake) = deliveries.recv() => match intake {
                Intake::Delivery(delivery, keep_open) => (delivery, keep_open),
                Intake::Closed => break Err(WorkerError::BrokerClosed),
            },
        };
        core.counters.received.fetch_add(1, Relaxed);
        if delivery.redelivered {
            core.counters.redelivered.fetch_add(1, Relaxed);
        }
        let run = DeliveryRun::new(Arc::clone(&core), delivery, stopping.clone(), cancelled.clone()).await;
        let span = run.span();
        let running = async move {
            run.run().await;
            drop(keep_open);
        };
        tasks.spawn(running.instrument(span));
    };
    consumers.close(deliveries);
    stopping.cancel();
    tracing::info!(tasks = tasks.len(), "worker is finishing");
    let done = outcome.is_ok()
        && tokio::select! {
            biased;
            () = registry.cold.cancelled() => false,
            done = finish(&mut tasks, core.grace) => done,
        };
    if !done {
        cancelled.cancel();
        let _ = finish(&mut tasks, CANCEL_GRACE).await;
        if outcome.is_ok() && !tasks.is_empty() && !registry.cold.is_cancelled() {
            outcome = Err(WorkerError::GraceExceeded { tasks: tasks.len() });
        }
        tasks.shutdown().await;
    }
    // No task holds a consumer any more: unsettled deliveries go back now.
    if tokio::time::timeout(CANCEL_GRACE, consumers.ended()).await.is_err() {
        // The broker does not read from this connection, as one that blocks publishers does. It requeues the unsettled
        // deliveries when the connection ends.
        tracing::warn!(
            "cannot requeue tasks that were not started; the broker requeues them when the connection closes"
        );
        consumers.abort().await;
    }
    monitoring.end().await;
    tracing::info!("worker ended");
    outcome
}

/// Whether all tasks ended in time.
async fn finish(tasks: &mut JoinSet<()>, within: Duration) -> bool {
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(within, all).await.is_ok()
}
