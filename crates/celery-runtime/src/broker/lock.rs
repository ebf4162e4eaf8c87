//! A name that one process holds at a time.

use std::{any::Any, fmt};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Held until it is dropped or lost; then another process may get it.
///
/// It is held over a network: for the moment in which its loss has not been noticed here, two may hold it. What must not be
/// done twice needs more than this.
#[must_use]
pub struct Lock {
    lost: CancellationToken,
    /// Where it has to be renewed, when it is lost unless it is: known even if whoever renews it did not come to run.
    until: Option<watch::Receiver<Instant>>,
    /// Gives it back when dropped.
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    pub(crate) fn new(lost: CancellationToken, held: impl Any + Send + Sync) -> Self {
        Self { lost, until: None, _held: Box::new(held) }
    }

    /// One that is lost at that time as well, which may be put off.
    pub(crate) fn until(mut self, until: watch::Receiver<Instant>) -> Self {
        self.until = Some(until);
        self
    }

    /// Whether it is still held, as far as is known.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled() && self.until.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }

    /// Returns when it is lost.
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
