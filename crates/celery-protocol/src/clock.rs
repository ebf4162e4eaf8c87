//! Lamport's logical clock, which orders the messages of several nodes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A logical clock: every sent message has a later time than all messages seen before.
#[derive(Debug, Default)]
pub struct LamportClock(AtomicU64);

/// The largest time that is adopted: times come from outside, and the clock must be able to advance.
const LATEST: u64 = 1 << 62;

impl LamportClock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The next time, for a message to be sent.
    pub fn forward(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adopts the time of a received message: `max(own, other) + 1`.
    pub fn adjust(&self, other: u64) -> u64 {
        let other = if other > LATEST { 0 } else { other };
        let next = |own: u64| Some(own.max(other) + 1);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        before.max(other) + 1
    }
}
