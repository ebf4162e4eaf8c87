//! What the monitor does at its times: its own looks and cleaning, which need no broker, and the tasks that the configuration
//! adds, sent by one of several monitors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use celery_runtime::client::{Client, SendOptions};
use celery_runtime::scheduler::{LastRuns, LastRunsError, ScheduleEntry, Scheduler};
use durable_fs::{Fs, durable};
use fleet::config::{Config, ScheduledTask};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

const FORMAT: u64 = 1;
const MAX_BYTES: u64 = 1 << 20;
/// How often what is no longer needed is looked for while nothing happens.
const TIDY_PERIOD: Duration = Duration::from_secs(60);

/// Wakes the loop for each look at the drop directory, and the cleaning.
pub fn own_work(config: &Config, look: Arc<Notify>, tidy: Arc<Notify>) -> Scheduler {
    let waking = |wake: Arc<Notify>| {
        move |_| {
            let wake = wake.clone();
            async move { wake.notify_one() }
        }
    };
    Scheduler::new("monitor")
        .entry(ScheduleEntry::run("look", config.scheduler_scan_period, waking(look)))
        .entry(ScheduleEntry::run("tidy", TIDY_PERIOD, waking(tidy)))
}

/// Sends what `schedule` says; `None` where it says nothing.
pub fn configured(config: &Config, client: Client, fs: Arc<dyn Fs>) -> Option<Scheduler> {
    if config.schedule.is_empty() {
        return None;
    }
    let last_runs = Arc::new(FileLastRuns::new(fs, &config.state_of(fleet::WorkerRole::Monitor)));
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

/// Last runs in the private state of a monitor.
#[derive(Debug)]
struct FileLastRuns {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    writing: Arc<Mutex<()>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    format: u64,
    /// As RFC 3339 writes times.
    last_runs: BTreeMap<String, String>,
}

impl FileLastRuns {
    fn new(fs: Arc<dyn Fs>, state: &Path) -> Self {
        Self { fs, path: state.join("schedule.json"), writing: Arc::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fs, &Path) -> Result<T, LastRunsFileError> + Send + 'static,
    ) -> Result<T, LastRunsFileError> {
        let (fs, path, writing) = (self.fs.clone(), self.path.clone(), self.writing.clone());
        let working = tokio::task::spawn_blocking(move || {
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            work(fs.as_ref(), &path)
        });
        working.await.map_err(|error| LastRunsFileError::new(&self.path, error))?
    }
}

/// Why the file of last runs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct LastRunsFileError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl LastRunsFileError {
    fn new(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { path: path.to_owned(), source: source.into() }
    }
}

fn read(fs: &dyn Fs, path: &Path) -> Result<Stored, LastRunsFileError> {
    match durable::read_bounded(fs, path, MAX_BYTES) {
        Ok(bytes) => {
            crate::format::check(&bytes, FORMAT).map_err(|error| LastRunsFileError::new(path, error))?;
            serde_json::from_slice(&bytes).map_err(|error| LastRunsFileError::new(path, error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Stored { format: FORMAT, ..Stored::default() })
        }
        Err(error) => Err(LastRunsFileError::new(path, error)),
    }
}

#[async_trait]
impl LastRuns for FileLastRuns {
    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, LastRunsError> {
        let name = entry.to_owned();
        self.blocking(move |fs, path| match read(fs, path)?.last_runs.get(&name) {
            Some(at) => at.parse::<Timestamp>().map(Some).map_err(|error| LastRunsFileError::new(path, error)),
            None => Ok(None),
        })
        .await
        .map_err(|error| LastRunsError::Load { entry: entry.to_owned(), source: error.into() })
    }

    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), LastRunsError> {
        let name = entry.to_owned();
        self.blocking(move |fs, path| {
            let mut stored = read(fs, path)?;
            stored.last_runs.insert(name, at.to_string());
            let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| LastRunsFileError::new(path, error))?;
            durable::replace(fs, path, &bytes, 0o600).map_err(|error| LastRunsFileError::new(path, error))
        })
        .await
        .map_err(|error| LastRunsError::Save { entry: entry.to_owned(), source: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use durable_fs::RealFs;

    use super::*;

    #[tokio::test]
    async fn last_runs_survive_a_restart_and_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = || FileLastRuns::new(Arc::new(RealFs), dir.path());
        let at: Timestamp = "2026-11-25T04:00:00Z".parse().unwrap();
        assert_eq!(open().load("nightly").await.unwrap(), None);
        open().save("nightly", at).await.unwrap();
        open().save("hourly", at).await.unwrap();
        assert_eq!(open().load("nightly").await.unwrap(), Some(at));
        assert_eq!(open().load("other").await.unwrap(), None);
        let path = dir.path().join("schedule.json");
        durable::replace(&RealFs, &path, br#"{"format": 2, "last_runs": {}}"#, 0o600).unwrap();
        assert!(open().load("nightly").await.is_err() && open().save("nightly", at).await.is_err());
    }
}
