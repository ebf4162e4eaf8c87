//! The time, passed in as a parameter.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};

use tuf_core::time::UtcTime;

/// A source of the time. Code that decides by the time of day takes one of these, so that tests set the time.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn unix_millis(&self) -> i64;

    /// The time in whole seconds, rounded down.
    fn now(&self) -> UtcTime {
        UtcTime::from_unix(self.unix_millis().div_euclid(1000))
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_millis(&self) -> i64 {
        #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        }
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    millis: AtomicI64,
}

impl ManualClock {
    /// A clock standing at `seconds` since the Unix epoch.
    #[must_use]
    pub fn at(seconds: i64) -> Self {
        Self { millis: AtomicI64::new(seconds.saturating_mul(1000)) }
    }

    /// Moves the clock, backwards when `seconds` is negative.
    pub fn advance(&self, seconds: i64) {
        self.millis.fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }

    /// Sets the clock to `seconds` since the Unix epoch.
    pub fn set(&self, seconds: i64) {
        self.millis.store(seconds.saturating_mul(1000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_millis(&self) -> i64 {
        self.millis.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = ManualClock::at(1_000);
        assert_eq!(clock.now(), UtcTime::from_unix(1_000));
        clock.advance(-1);
        assert_eq!(clock.unix_millis(), 999_000);
        clock.set(5);
        assert_eq!(clock.now(), UtcTime::from_unix(5));
    }

    #[test]
    fn milliseconds_before_the_epoch_round_down() {
        let clock = ManualClock::default();
        clock.millis.store(-1, Ordering::SeqCst);
        assert_eq!(clock.now(), UtcTime::from_unix(-1));
    }
}
