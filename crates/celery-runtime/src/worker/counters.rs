//! What a worker has done, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the worker was built.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) received: AtomicU64,
    pub(super) redelivered: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) revoked: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) returned: AtomicU64,
    pub(super) in_flight: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Deliveries taken from the queue.
    pub received: u64,
    /// Those of them that may have been delivered before.
    pub redelivered: u64,
    /// Tasks that ended well.
    pub succeeded: u64,
    /// Tasks that ended with an exception, wrong arguments and panics included.
    pub failed: u64,
    /// Tries that ended with another one to come.
    pub retried: u64,
    /// Tasks not run because they had expired.
    pub expired: u64,
    /// Tasks not run because they were revoked, or terminated under way.
    pub revoked: u64,
    /// Messages refused: unknown tasks, content that cannot be read, tasks whose handler rejected them.
    pub rejected: u64,
    /// Tasks given back to the queue because their outcome could not be brought out, or their handler asked for it.
    pub returned: u64,
    /// Handlers running now.
    pub in_flight: u64,
}

impl Counters {
    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            received: self.received.load(Relaxed),
            redelivered: self.redelivered.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
            retried: self.retried.load(Relaxed),
            expired: self.expired.load(Relaxed),
            revoked: self.revoked.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            returned: self.returned.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }

    /// Counts a handler as running until the guard is dropped, however it ends.
    pub(super) fn running(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }
}

pub(super) struct InFlight<'a>(&'a Counters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
