//! The worker's loop: take, dispatch, shut down warmly.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Worker, execute::Execution};
use crate::broker::BrokerError;

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
    /// Works until `shutdown` is cancelled, then ends warmly: takes nothing more, lets running tasks finish and acknowledge
    /// within the grace period, and gives back what was not started.
    ///
    /// Waits for a broker that is away, at start and later. Dropping the returned future gives everything back at once.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let shared = self.shared;
        let mut consumer = shared.broker.consume(&shared.queue, shared.prefetch).await?;
        tracing::info!(worker = shared.name, queue = shared.queue.name, "worker started");
        // Stopping ends what only waits, and does so at once: a task that waits its turn must not start because the one before
        // it ended before this loop saw the shutdown. Cancelled reaches handlers that run.
        let (stopping, cancelled) = (shutdown.child_token(), CancellationToken::new());
        let _stop_if_dropped = cancelled.clone().drop_guard();
        let mut tasks = JoinSet::new();
        let mut outcome = loop {
            let delivery = tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                delivery = consumer.next() => match delivery {
                    Some(delivery) => delivery,
                    None => break Err(WorkerError::BrokerClosed),
                },
            };
            shared.counters.received.fetch_add(1, Relaxed);
            if delivery.redelivered {
                shared.counters.redelivered.fetch_add(1, Relaxed);
            }
            let execution = Execution::new(Arc::clone(&shared), delivery, stopping.clone(), cancelled.clone()).await;
            tasks.spawn(execution.run());
        };
        consumer.cancel().await;
        stopping.cancel();
        tracing::info!(worker = shared.name, tasks = tasks.len(), "worker is finishing");
        let all_done = |tasks: JoinSet<()>| async move {
            let mut tasks = tasks;
            while tasks.join_next().await.is_some() {}
        };
        if outcome.is_err() || !finish(&mut tasks, shared.grace).await {
            cancelled.cancel();
            let _ = finish(&mut tasks, CANCEL_GRACE).await;
            if outcome.is_ok() && !tasks.is_empty() {
                outcome = Err(WorkerError::GraceExceeded { tasks: tasks.len() });
            }
            tasks.abort_all();
            all_done(tasks).await;
        }
        drop(consumer);
        tracing::info!(worker = shared.name, "worker ended");
        outcome
    }
}

/// Whether all tasks ended in time.
async fn finish(tasks: &mut JoinSet<()>, within: Duration) -> bool {
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(within, all).await.is_ok()
}
