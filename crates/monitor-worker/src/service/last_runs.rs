//! `schedule.json`: when each entry of the schedule last ran, in the private state of a monitor.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use celery_runtime::scheduler::{LastRuns, LastRunsError};
use durable_fs::{Fs, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::sync::lock;

use crate::stored_format::{self, StoredFormatError};

const LAST_RUNS_FORMAT: u64 = 1;
const MAX_LAST_RUNS_BYTES: u64 = 1 << 20;

/// Why the last runs cannot be read or written.
#[derive(Debug, thiserror::Error)]
enum LastRunsFileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Format { path: PathBuf, source: StoredFormatError },
    #[error("{}: {entry:?} has no valid time: {source}", path.display())]
    Time { path: PathBuf, entry: String, source: jiff::Error },
    #[error("file work was interrupted: {0}")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Last runs in a file.
#[derive(Debug)]
pub(super) struct FileLastRuns {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    writing: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
struct StoredLastRuns {
    format: u64,
    /// Times as RFC 3339, by entry.
    last_runs: BTreeMap<String, String>,
}

impl FileLastRuns {
    pub(super) fn new(fs: Arc<dyn Fs>, state: &Path) -> Self {
        Self { fs, path: state.join("schedule.json"), writing: Arc::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fs, &Path) -> Result<T, LastRunsFileError> + Send + 'static,
    ) -> Result<T, LastRunsFileError> {
        let (fs, path, writing) = (self.fs.clone(), self.path.clone(), self.writing.clone());
        let working = tokio::task::spawn_blocking(move || {
            let _writing = lock(&writing);
            work(fs.as_ref(), &path)
        });
        working.await.map_err(LastRunsFileError::Interrupted)?
    }

    async fn last_run(&self, entry: String) -> Result<Option<Timestamp>, LastRunsFileError> {
        self.blocking(move |fs, path| match read(fs, path)?.last_runs.get(&entry) {
            Some(at) => {
                at.parse().map(Some).map_err(|source| LastRunsFileError::Time { path: path.to_owned(), entry, source })
            }
            None => Ok(None),
        })
        .await
    }

    async fn store(&self, entry: String, at: Timestamp) -> Result<(), LastRunsFileError> {
        self.blocking(move |fs, path| {
            let mut stored = read(fs, path)?;
            stored.last_runs.insert(entry, at.to_string());
            let failed = |source| LastRunsFileError::Io { path: path.to_owned(), source };
            let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| failed(error.into()))?;
            durable::replace(fs, path, &bytes, 0o600).map_err(failed)
        })
        .await
    }
}

fn read(fs: &dyn Fs, path: &Path) -> Result<StoredLastRuns, LastRunsFileError> {
    match durable::read_bounded(fs, path, MAX_LAST_RUNS_BYTES) {
        Ok(bytes) => stored_format::parse(&bytes, LAST_RUNS_FORMAT)
            .map_err(|source| LastRunsFileError::Format { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(StoredLastRuns { format: LAST_RUNS_FORMAT, last_runs: BTreeMap::new() })
        }
        Err(source) => Err(LastRunsFileError::Io { path: path.to_owned(), source }),
    }
}

#[async_trait]
impl LastRuns for FileLastRuns {
    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, LastRunsError> {
        let failed = |error: LastRunsFileError| LastRunsError::Load { entry: entry.to_owned(), source: error.into() };
        self.last_run(entry.to_owned()).await.map_err(failed)
    }

    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), LastRunsError> {
        let failed = |error: LastRunsFileError| LastRunsError::Save { entry: entry.to_owned(), source: error.into() };
        self.store(entry.to_owned(), at).await.map_err(failed)
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
