//! Waiting for results: who waits for what, and the newest state seen.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use celery_protocol::ResultMeta;
use tokio::sync::watch;

/// A result that may come. Holds the newest state; the first final one stands, because a task that ran twice answers twice.
pub struct Expectation {
    newest: watch::Receiver<Option<ResultMeta>>,
    _held: Box<dyn Any + Send + Sync>,
}

impl Expectation {
    /// An expectation fed through `newest`. `held` is dropped with it: what stops the waiting.
    #[must_use]
    pub fn new(newest: watch::Receiver<Option<ResultMeta>>, held: impl Any + Send + Sync) -> Self {
        Self { newest, _held: Box::new(held) }
    }

    /// An expectation nothing will ever come to: the task was sent with `ignore_result`.
    #[must_use]
    pub fn never() -> Self {
        let (sender, newest) = watch::channel(None);
        Self::new(newest, sender)
    }

    /// The newest state, as it changes. Its sender goes when the backend is closed and nothing can come any more.
    pub fn newest(&mut self) -> &mut watch::Receiver<Option<ResultMeta>> {
        &mut self.newest
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation").finish_non_exhaustive()
    }
}

/// Who waits for what, for backends that receive results for many waiters over one stream.
#[derive(Default)]
pub struct Waiting {
    results: Mutex<HashMap<String, watch::Sender<Option<ResultMeta>>>>,
}

impl Waiting {
    /// Waits for `task_id` from now on. Waiting again under the same id takes the place of the wait before.
    #[must_use]
    pub fn expect(self: &Arc<Self>, task_id: &str) -> Expectation {
        let (sender, newest) = watch::channel(None);
        let alive = newest.clone();
        self.lock().insert(task_id.to_owned(), sender);
        Expectation::new(newest, Place { waiting: self.clone(), task_id: task_id.to_owned(), alive })
    }

    /// Hands a state to whoever waits for it; says whether anybody does.
    pub fn accept(&self, meta: ResultMeta) -> bool {
        let waiting = self.lock();
        let Some(sender) = waiting.get(&meta.task_id) else { return false };
        sender.send_if_modified(|newest| {
            let news = !newest.as_ref().is_some_and(|old| old.state.is_ready());
            if news {
                *newest = Some(meta);
            }
            news
        });
        true
    }

    /// Nobody will answer any more: everybody who waits learns it.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<ResultMeta>>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("results", &self.lock().len()).finish()
    }
}

/// A place among those who wait, given up when dropped.
struct Place {
    waiting: Arc<Waiting>,
    task_id: String,
    alive: watch::Receiver<Option<ResultMeta>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        // Another wait under the same id may have taken the place; then this one's channel is closed already.
        if self.alive.has_changed().is_ok() {
            waiting.remove(&self.task_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn success(id: &str, value: i64) -> ResultMeta {
        ResultMeta::success(id, json!(value), crate::clock::now())
    }

    #[test]
    fn the_first_final_state_stands() {
        let waiting = Arc::new(Waiting::default());
        let mut expected = waiting.expect("a");
        assert!(waiting.accept(success("a", 1)));
        assert!(waiting.accept(success("a", 2)));
        assert_eq!(expected.newest().borrow().as_ref().unwrap().result, 1);
        assert!(!waiting.accept(success("b", 1)));
    }

    #[test]
    fn who_waits_again_takes_the_place_and_keeps_it() {
        let waiting = Arc::new(Waiting::default());
        let first = waiting.expect("a");
        let mut second = waiting.expect("a");
        drop(first);
        assert!(waiting.accept(success("a", 1)));
        assert!(second.newest().borrow().is_some());
        drop(second);
        assert!(!waiting.accept(success("a", 1)));
    }
}
