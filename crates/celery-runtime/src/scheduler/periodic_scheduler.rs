//! A scheduler and its settings.

use std::{fmt, sync::Arc};

use super::{
    last_runs::LastRuns,
    memory_last_runs::MemoryLastRuns,
    schedule_clock::{ScheduleClock, SystemScheduleClock},
    schedule_entry::ScheduleEntry,
};
use crate::client::Client;

/// Sends tasks and runs work at the times of its entries. Started by [`run`](Self::run).
pub struct Scheduler {
    pub(super) name: String,
    pub(super) entries: Vec<ScheduleEntry>,
    pub(super) client: Option<Client>,
    pub(super) exclusive: bool,
    pub(super) last_runs: Arc<dyn LastRuns>,
    pub(super) clock: Arc<dyn ScheduleClock>,
}

impl Scheduler {
    /// A scheduler without entries. Replicas have the same name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entries: Vec::new(),
            client: None,
            exclusive: false,
            last_runs: Arc::new(MemoryLastRuns::default()),
            clock: Arc::new(SystemScheduleClock),
        }
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: ScheduleEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// The client that sends the tasks.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Only one of the replicas on the client's broker does anything at a time.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Where last runs are kept; by default in this process.
    #[must_use]
    pub fn last_runs(mut self, last_runs: Arc<dyn LastRuns>) -> Self {
        self.last_runs = last_runs;
        self
    }

    /// Its clock; by default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn ScheduleClock>) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("name", &self.name).field("entries", &self.entries).finish_non_exhaustive()
    }
}
