//! A name that one process holds at a time.

use std::{any::Any, fmt};

use tokio_util::sync::CancellationToken;

/// Held until it is dropped or lost; then another process may get it.
///
/// It is held over a network: for the moment in which its loss has not been noticed here, two may hold it. What must not be
/// done twice needs more than this.
#[must_use]
pub struct Lock {
    lost: CancellationToken,
    /// Gives it back when dropped.
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    pub(crate) fn new(lost: CancellationToken, held: impl Any + Send + Sync) -> Self {
        Self { lost, _held: Box::new(held) }
    }

    /// Whether it is still held, as far as is known.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// Returns when it is lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("held", &self.is_held()).finish_non_exhaustive()
    }
}
