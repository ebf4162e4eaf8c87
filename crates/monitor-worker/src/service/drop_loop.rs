//! The loop that takes drops in: a cycle at start, when woken, and every `scheduler_scan_period`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use service::health::HealthState;
use tokio::time::Instant;

use super::drop_watch::DropWatch;
use super::monitor_service::MonitorService;
use crate::celery_chain::CeleryChain;
use crate::chain::ChainError;
use crate::cycle::{CycleError, CycleReport};
use crate::drop_dir::{DropName, IgnoredEntry};
use crate::monitor::Monitor;
use crate::settings::MonitorSettings;

/// The pause after a cycle that failed; doubled by each further one, up to `scheduler_scan_period`.
const FIRST_CYCLE_RETRY: Duration = Duration::from_millis(100);

impl MonitorService {
    /// The loop: a cycle at start, when woken and every scan period, one after another while there is work.
    pub(super) async fn watch_drops(self: Arc<Self>) {
        let Some(monitor) = self.open().await else {
            return;
        };
        let context = &self.context;
        let config = &context.config;
        let chain = CeleryChain::new(
            self.client.clone(),
            config.task_timeout,
            context.shutdown.clone(),
            context.health.clone(),
        );
        let mut watch = DropWatch::new(self.wake.clone(), config.prefix_case_insensitive);
        let mut last_chain: Option<Instant> = None;
        let mut tidied = false;
        let mut pause = FIRST_CYCLE_RETRY;
        let (mut held, mut ignored) = (HashSet::new(), HashSet::new());
        while !context.shutdown.is_cancelled() {
            if let Some(last) = last_chain
                && !self.sleep_until(last + config.publish_min_interval).await
            {
                break;
            }
            watch.ensure(&*context.fs, &config.post_to_tuf_path);
            let callers = self.callers.take();
            context.health.progress();
            let started = Instant::now();
            let result = self.cycle(&monitor, &chain).await.map_err(Arc::new);
            context.health.progress();
            callers.answer(&result);
            self.publish_status(&monitor);
            let more = match &result {
                Ok(report) => {
                    pause = FIRST_CYCLE_RETRY;
                    if report.chain_started {
                        last_chain = Some(started);
                    }
                    self.account(report, started);
                    log_newly_held(report, &mut held);
                    log_newly_ignored(report, &mut ignored);
                    context.health.set_state(HealthState::Ready);
                    if !tidied || report.did_something() {
                        tidied = true;
                        self.tidy.notify_one();
                    }
                    report.more
                }
                Err(error) if matches!(**error, CycleError::Stopping | CycleError::Chain(ChainError::Stopped(_))) => {
                    break;
                }
                Err(error) => {
                    context.health.set_state(HealthState::Waiting(error.to_string()));
                    let now = pause;
                    pause = self.longer(pause);
                    // A new drop does not mend the fault, so no notification cuts the pause short.
                    if !self.sleep_until(Instant::now() + now).await {
                        break;
                    }
                    true
                }
            };
            if !more {
                tokio::select! {
                    () = context.shutdown.cancelled() => {}
                    // By the schedule, the file system, or a caller.
                    () = self.wake.notified() => {}
                }
            }
        }
        // Callers that still wait see their senders dropped.
        drop(self.callers.take());
    }

    /// Runs a cycle. It waits for the signing roles as long as they take; meanwhile `status` and the metrics follow the drop
    /// directory.
    async fn cycle(&self, monitor: &Monitor, chain: &CeleryChain) -> Result<CycleReport, CycleError> {
        let period = self.context.config.scheduler_scan_period.max(FIRST_CYCLE_RETRY);
        let mut cycle = std::pin::pin!(monitor.run_cycle(chain));
        loop {
            tokio::select! {
                biased;
                done = &mut cycle => return done,
                () = tokio::time::sleep(period) => {
                    // The cycle reports a directory that cannot be listed.
                    let _ = monitor.recount().await;
                    self.publish_status(monitor);
                }
            }
        }
    }

    /// Opens the private state, trying again until it can be opened. `None`: the worker is stopping.
    async fn open(&self) -> Option<Monitor> {
        let context = &self.context;
        let mut pause = FIRST_CYCLE_RETRY;
        loop {
            let (fs, clock) = (context.fs.clone(), context.clock.clone());
            let settings = MonitorSettings::from_config(&context.config);
            let span = context.span.clone();
            let open = move || span.in_scope(|| Monitor::open(fs, clock, settings));
            let opened = tokio::task::spawn_blocking(open).await;
            let problem = match opened {
                Ok(Ok(monitor)) => {
                    let (health, shutdown) = (context.health.clone(), context.shutdown.clone());
                    monitor.on_progress(move || {
                        health.progress();
                        !shutdown.is_cancelled()
                    });
                    self.set_monitor(monitor.clone());
                    self.publish_status(&monitor);
                    return Some(monitor);
                }
                Ok(Err(error)) => CycleError::Io(error),
                Err(error) => CycleError::Interrupted(error),
            };
            context.health.progress();
            context.health.set_state(HealthState::Waiting(format!("the state directory cannot be used: {problem}")));
            if !self.sleep_until(Instant::now() + pause).await {
                return None;
            }
            pause = self.longer(pause);
        }
    }

    /// The pause after the next failure.
    fn longer(&self, pause: Duration) -> Duration {
        pause.saturating_mul(2).min(self.context.config.scheduler_scan_period.max(FIRST_CYCLE_RETRY))
    }

    /// `false` when the worker is stopping.
    async fn sleep_until(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }

    /// Counts the drops that ended.
    fn account(&self, report: &CycleReport, started: Instant) {
        let metrics = &self.context.metrics;
        if report.published > 0 {
            metrics.drops_finished("published", report.published);
            metrics.published(report.published, started.elapsed());
        }
        if report.rejected > 0 {
            metrics.drops_finished("rejected", report.rejected);
        }
        if report.published + report.rejected > 0 {
            self.context.health.worked(self.context.clock.now());
        }
    }
}

/// Logs each drop once when it begins to be held back.
fn log_newly_held(report: &CycleReport, held: &mut HashSet<DropName>) {
    for (name, reason) in report.held.iter().filter(|(name, _)| !held.contains(name)) {
        tracing::warn!(drop.name = %name, %reason, "drop held back");
    }
    *held = report.held.iter().map(|(name, _)| name.clone()).collect();
}

/// Logs each entry once when it begins to look like a drop.
fn log_newly_ignored(report: &CycleReport, ignored: &mut HashSet<IgnoredEntry>) {
    for entry in report.ignored.iter().filter(|entry| !ignored.contains(*entry)) {
        let name = entry.name.to_string_lossy();
        tracing::warn!(post.entry = ?name, reason = %entry.reason, "entry of the drop directory ignored");
    }
    *ignored = report.ignored.iter().cloned().collect();
}
