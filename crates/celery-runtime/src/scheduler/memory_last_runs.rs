//! Last runs in memory.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use super::last_runs::{LastRuns, LastRunsError};
use crate::sync::lock;

/// Keeps last runs for as long as the process lives.
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

    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, LastRunsError> {
        Ok(lock(&self.runs).get(entry).copied())
    }

    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), LastRunsError> {
        lock(&self.runs).insert(entry.to_owned(), at);
        Ok(())
    }
}
