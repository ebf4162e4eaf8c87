//! What a scheduler remembers over a restart.

use std::{collections::HashMap, fmt, sync::Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::sync::lock;

/// Keeps when each entry was last dealt with.
#[async_trait]
pub trait LastRuns: Send + Sync + fmt::Debug {
    /// Whether all replicas keep it in one place, so that another one goes on exactly where the last one stopped. Where each
    /// keeps its own, whoever takes over does again what was due in the last minute, and, if it has been back for less
    /// than two minutes, what was due while it was away, once. What a crontab does again has the same task id; an
    /// interval has a beat of its own in each, so that there the ids differ and the minute is longer by the jitter.
    fn is_shared(&self) -> bool {
        false
    }

    /// When `entry` was last dealt with.
    ///
    /// # Errors
    /// If it cannot be read, in words. It is asked again later, and nothing is done before.
    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, String>;

    /// Notes it; returns when it will survive a restart.
    ///
    /// # Errors
    /// If it cannot be written, in words. The scheduler goes on with what it knows.
    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), String>;
}

/// Keeps it for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryLastRuns {
    runs: Mutex<HashMap<String, Timestamp>>,
    shared: bool,
}

impl MemoryLastRuns {
    /// For replicas within one process, which all get this one.
    #[must_use]
    pub fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }
}

#[async_trait]
impl LastRuns for MemoryLastRuns {
    fn is_shared(&self) -> bool {
        self.shared
    }

    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, String> {
        Ok(lock(&self.runs).get(entry).copied())
    }

    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), String> {
        lock(&self.runs).insert(entry.to_owned(), at);
        Ok(())
    }
}
