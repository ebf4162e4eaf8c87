//! Locks: names that one process at a time holds.

use std::{any::Any, fmt};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// A lock among all processes of a broker, held until it is dropped or lost.
///
/// It is held over a network: until its loss is noticed here, two processes may hold it. Work that must not be done twice
/// needs more than this lock.
#[must_use]
pub struct Lock {
    lost: CancellationToken,
    /// For a lock with a lease, when it is lost unless it is renewed: known even if the renewing task did not run.
    until: Option<watch::Receiver<Instant>>,
    /// Releases the lock when dropped.
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    pub(crate) fn new(lost: CancellationToken, held: impl Any + Send + Sync) -> Self {
        Self { lost, until: None, _held: Box::new(held) }
    }

    /// Adds the time at which the lock is lost unless it is renewed.
    pub(crate) fn until(mut self, until: watch::Receiver<Instant>) -> Self {
        self.until = Some(until);
        self
    }

    /// Whether the lock is still held, as far as is known.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled() && self.until.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }

    /// Returns when the lock is lost.
    pub async fn lost(&self) {
        let Some(until) = &self.until else { return self.lost.cancelled().await };
        while self.is_held() {
            let end = *until.borrow();
            tokio::select! {
                () = self.lost.cancelled() => {}
                () = tokio::time::sleep_until(end) => {}
            }
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("held", &self.is_held()).finish_non_exhaustive()
    }
}
