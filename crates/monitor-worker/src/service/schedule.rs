//! The schedule of the monitor: its own cycles and tidying, which need no broker, and the tasks that `schedule` in the
//! configuration adds, which one of several monitors sends.

use std::sync::Arc;
use std::time::Duration;

use celery_runtime::client::{Client, SendOptions};
use celery_runtime::scheduler::{ScheduleEntry, Scheduler};
use durable_fs::Fs;
use fleet::WorkerRole;
use fleet::config::{Config, ScheduledTask};
use tokio::sync::Notify;

use super::last_runs::FileLastRuns;
use super::monitor_service::MonitorService;
use crate::monitor::Monitor;

/// How often the monitor tidies while no drop ends.
const TIDY_PERIOD: Duration = Duration::from_secs(60);

impl MonitorService {
    /// Wakes the loops at their times, tidies when woken, and sends the tasks of the configuration.
    pub(super) async fn keep_schedule(self: Arc<Self>) {
        let context = &self.context;
        let own = own_work(&context.config, self.wake.clone(), self.tidy.clone());
        let configured = configured(&context.config, self.client.clone(), context.fs.clone());
        let own = own.run(context.shutdown.clone());
        let sending = async {
            match configured {
                Some(scheduler) => scheduler.run(context.shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let tidying = async {
            loop {
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = self.tidy.notified() => {}
                }
                let Some(monitor) = self.monitor() else { continue };
                // It may be interrupted: it only removes files that are out of use, and the next start removes the rest.
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = tidy(monitor) => {}
                }
            }
        };
        let (own, sending, ()) = tokio::join!(own, sending, tidying);
        for outcome in [own, sending] {
            if let Err(error) = outcome {
                tracing::error!(%error, "schedule stopped");
            }
        }
    }
}

async fn tidy(monitor: Monitor) {
    if let Err(error) = monitor.tidy().await {
        tracing::warn!(%error, "tidying failed; trying again later");
    }
}

/// Wakes the loop that takes drops in, and the one that tidies.
fn own_work(config: &Config, scan: Arc<Notify>, tidy: Arc<Notify>) -> Scheduler {
    let waking = |wake: Arc<Notify>| {
        move |_| {
            let wake = wake.clone();
            async move { wake.notify_one() }
        }
    };
    Scheduler::new("monitor")
        .entry(ScheduleEntry::run("scan", config.scheduler_scan_period, waking(scan)))
        .entry(ScheduleEntry::run("tidy", TIDY_PERIOD, waking(tidy)))
}

/// Sends the tasks of `schedule`; `None` if there are none.
fn configured(config: &Config, client: Client, fs: Arc<dyn Fs>) -> Option<Scheduler> {
    if config.schedule.is_empty() {
        return None;
    }
    let last_runs = Arc::new(FileLastRuns::new(fs, &config.state_of(WorkerRole::Monitor)));
    let name = format!("rugged.schedule.{}", config.repository_id.as_deref().unwrap_or_default());
    let scheduler = Scheduler::new(name).client(client).exclusive().last_runs(last_runs);
    Some(config.schedule.iter().map(entry).fold(scheduler, Scheduler::entry))
}

fn entry(task: &ScheduledTask) -> ScheduleEntry {
    let options =
        SendOptions { expires_in: task.expires, ignore_result: true, drop_expired: true, ..SendOptions::default() };
    ScheduleEntry::send(&task.name, task.schedule.clone(), &task.queue, &task.task)
        .kwargs(task.kwargs.clone())
        .options(options)
        .jitter(task.jitter)
}
