//! Requeueing a task, and the log lines of acknowledgements that failed.

use std::{fmt::Display, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio_util::sync::CancellationToken;

use super::counters::WorkerCounters;
use crate::broker::{AckError, Delivery};

/// The wait before a task is requeued.
const REQUEUE_DELAY: Duration = Duration::from_secs(1);

/// Requeues a task after [`REQUEUE_DELAY`]; the broker delivers it again.
pub(super) async fn requeue(
    counters: &WorkerCounters,
    delivery: &Delivery,
    reason: &(dyn Display + Sync),
    stopping: &CancellationToken,
) {
    tracing::warn!(error = %reason, "task requeued");
    counters.requeued.fetch_add(1, Relaxed);
    // Without the delay a broken reply path would spin. At shutdown the closing channel requeues the task.
    tokio::select! {
        () = stopping.cancelled() => return,
        () = tokio::time::sleep(REQUEUE_DELAY) => {}
    }
    log_unsettled(delivery.reject(true).await);
}

/// Logs a settlement that failed.
pub(super) fn log_unsettled(settled: Result<(), AckError>) {
    match settled {
        Ok(()) => {}
        Err(error @ AckError::Stale { .. }) => tracing::info!(%error, "delivery not settled; the broker redelivers it"),
        Err(error) => tracing::warn!(%error, "delivery not settled; the broker redelivers it"),
    }
}
