//! An expected result.

use std::{any::Any, fmt};

use celery_protocol::ResultMeta;
use tokio::sync::watch;

/// A result that may come.
///
/// Holds the newest state. The first final state stands, because a task that ran twice answers twice.
pub struct Expectation {
    newest: watch::Receiver<Option<ResultMeta>>,
    /// Stops the wait when dropped.
    _guard: Box<dyn Any + Send + Sync>,
}

impl Expectation {
    /// An expectation that receives its states from `newest`. Dropping it drops `guard`, which stops the wait.
    #[must_use]
    pub fn new(newest: watch::Receiver<Option<ResultMeta>>, guard: impl Any + Send + Sync) -> Self {
        Self { newest, _guard: Box::new(guard) }
    }

    /// An expectation of a task that was sent with `ignore_result`: no result ever comes.
    #[must_use]
    pub fn never() -> Self {
        let (sender, newest) = watch::channel(None);
        Self::new(newest, sender)
    }

    /// The newest state, as it changes. The channel closes when the backend is closed and no result can come any more.
    pub fn newest(&mut self) -> &mut watch::Receiver<Option<ResultMeta>> {
        &mut self.newest
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation").finish_non_exhaustive()
    }
}
