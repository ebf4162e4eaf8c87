//! The time a scheduler goes by.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

/// Tells the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Returns at that time, or earlier.
    async fn sleep_until(&self, until: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
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
pub struct ManualClock {
    time: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// Standing at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { time: watch::Sender::new(time) }
    }

    /// Moves it, backwards as well.
    pub fn set(&self, time: Timestamp) {
        self.time.send_replace(time);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let mut time = self.time.subscribe();
        // A clock set back is to be noticed at once as well.
        let start = *time.borrow();
        let _ = time.wait_for(|now| *now >= until || *now < start).await;
    }
}
