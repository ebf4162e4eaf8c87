//! Counters of a worker, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the worker was built.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    pub(super) received: AtomicU64,
    pub(super) redelivered: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) revoked: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) requeued: AtomicU64,
    pub(super) in_flight: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterSnapshot {
    /// Deliveries taken from the queue.
    pub received: u64,
    /// Those of them that may have been delivered before.
    pub redelivered: u64,
    /// Tasks that returned a value.
    pub succeeded: u64,
    /// Tasks that ended with an exception, wrong arguments and panics included.
    pub failed: u64,
    /// Tries that are followed by another.
    pub retried: u64,
    /// Tasks not run because they had expired.
    pub expired: u64,
    /// Tasks not run because they were revoked, or terminated while they ran.
    pub revoked: u64,
    /// Messages rejected: unknown tasks, content that cannot be read, tasks whose handler rejected them.
    pub rejected: u64,
    /// Tasks requeued because their outcome could not be reported, or because their handler requested it.
    pub requeued: u64,
    /// Handlers running now.
    pub in_flight: u64,
}

impl WorkerCounters {
    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> CounterSnapshot {
        CounterSnapshot {
            received: self.received.load(Relaxed),
            redelivered: self.redelivered.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
            retried: self.retried.load(Relaxed),
            expired: self.expired.load(Relaxed),
            revoked: self.revoked.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            requeued: self.requeued.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }

    /// Counts a handler as running until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlightGuard<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlightGuard(self)
    }
}

pub(super) struct InFlightGuard<'a>(&'a WorkerCounters);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
