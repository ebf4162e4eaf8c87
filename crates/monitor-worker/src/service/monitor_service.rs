//! The parts that the tasks and the loops of the monitor-worker share.

use std::sync::{Arc, Mutex};

use celery_runtime::TaskError;
use celery_runtime::client::Client;
use fleet::Context;
use fleet::contract::{FindNewTargets, Processing};
use fleet::exceptions::{INFRASTRUCTURE, NOT_READY, exception};
use service::sync::lock;
use tokio::sync::Notify;

use super::callers::{TooManyCallers, WaitingCallers};
use crate::monitor::Monitor;

/// The monitor with its surroundings.
pub(super) struct MonitorService {
    pub(super) context: Context,
    pub(super) client: Client,
    /// Wakes the loop that takes drops in.
    pub(super) wake: Arc<Notify>,
    /// Wakes the loop that tidies.
    pub(super) tidy: Arc<Notify>,
    pub(super) callers: WaitingCallers,
    /// `None` until the private state is open.
    monitor: Mutex<Option<Monitor>>,
}

impl MonitorService {
    pub(super) fn new(context: Context, client: Client) -> Self {
        // Counters begin at zero: Prometheus does not see how a series begins, so it would miss the first rejection.
        for state in ["published", "rejected"] {
            context.metrics.drops_finished(state, 0);
        }
        Self {
            context,
            client,
            wake: Arc::default(),
            tidy: Arc::default(),
            callers: WaitingCallers::default(),
            monitor: Mutex::default(),
        }
    }

    /// The monitor, once its private state is open.
    pub(super) fn monitor(&self) -> Option<Monitor> {
        lock(&self.monitor).clone()
    }

    pub(super) fn set_monitor(&self, monitor: Monitor) {
        *lock(&self.monitor) = Some(monitor);
    }

    /// Waits for a cycle that begins after this call.
    pub(super) async fn find_new_targets(&self) -> Result<FindNewTargets, TaskError> {
        let answer = self.callers.add().map_err(|TooManyCallers| {
            exception(NOT_READY, "too many callers wait for the next cycle; ask again later")
        })?;
        self.wake.notify_one();
        match answer.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(exception(INFRASTRUCTURE, error.to_string())),
            Err(_) => Err(exception(NOT_READY, "the monitor-worker is stopping")),
        }
    }

    pub(super) async fn set_paused(&self, paused: bool, reason: Option<String>) -> Result<Processing, TaskError> {
        let monitor = self.monitor().ok_or_else(|| exception(NOT_READY, "the state directory is not open yet"))?;
        let now = monitor.set_paused(paused, reason).await.map_err(|e| exception(INFRASTRUCTURE, e.to_string()))?;
        let event = if paused { "processing paused" } else { "processing resumed" };
        tracing::info!(reason = now.reason.as_deref(), "{event}");
        self.publish_status(&monitor);
        self.wake.notify_one();
        Ok(now)
    }

    /// Updates `status` and the metrics.
    pub(super) fn publish_status(&self, monitor: &Monitor) {
        let (processing, counts, waiting) = (monitor.processing(), monitor.counts(), monitor.waiting());
        let metrics = &self.context.metrics;
        metrics.paused(processing.paused);
        for state in ["ready", "processing", "rejected", "held", "late", "ignored"] {
            metrics.drops(state, counts.get(state).copied().unwrap_or(0));
        }
        metrics.oldest_ready(monitor.oldest_waiting());
        let notices = monitor.notices();
        self.context.health.update(|status| {
            status.notices = notices;
            status.processing = Some(processing);
            status.drops = counts;
            status.waiting = waiting;
        });
    }
}
