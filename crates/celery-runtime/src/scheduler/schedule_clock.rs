//! The clock of a scheduler.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

/// Reads the time of day and waits for one.
#[async_trait]
pub trait ScheduleClock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Returns at that time, or earlier.
    async fn sleep_until(&self, until: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemScheduleClock;

#[async_trait]
impl ScheduleClock for SystemScheduleClock {
    fn now(&self) -> Timestamp {
        crate::clock::now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let left = until.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug)]
pub struct ManualScheduleClock {
    time: watch::Sender<Timestamp>,
}

impl ManualScheduleClock {
    /// A clock that stands at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { time: watch::Sender::new(time) }
    }

    /// Moves it, forwards or backwards.
    pub fn set(&self, time: Timestamp) {
        self.time.send_replace(time);
    }
}

#[async_trait]
impl ScheduleClock for ManualScheduleClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let mut time = self.time.subscribe();
        // A clock that is set back ends the wait as well.
        let start = *time.borrow();
        let _ = time.wait_for(|now| *now >= until || *now < start).await;
    }
}
