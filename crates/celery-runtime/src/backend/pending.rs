//! The results that callers wait for.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use celery_protocol::ResultMeta;
use tokio::sync::watch;

use super::expectation::Expectation;
use crate::sync::lock;

/// The results that callers wait for, for backends that receive the results of all callers over one stream.
#[derive(Default)]
pub struct PendingResults {
    results: Mutex<HashMap<String, watch::Sender<Option<ResultMeta>>>>,
}

impl PendingResults {
    /// Waits for `task_id` from now on. A second wait for the same id replaces the first.
    #[must_use]
    pub fn expect(self: &Arc<Self>, task_id: &str) -> Expectation {
        let (sender, newest) = watch::channel(None);
        let alive = newest.clone();
        self.results().insert(task_id.to_owned(), sender);
        Expectation::new(newest, PendingResultGuard { pending: self.clone(), task_id: task_id.to_owned(), alive })
    }

    /// Delivers a state to its caller. Returns whether a caller waits for it.
    pub fn accept(&self, meta: ResultMeta) -> bool {
        let results = self.results();
        let Some(sender) = results.get(&meta.task_id) else { return false };
        sender.send_if_modified(|newest| {
            let changed = !newest.as_ref().is_some_and(|old| old.state.is_ready());
            if changed {
                *newest = Some(meta);
            }
            changed
        });
        true
    }

    /// Ends all waits, because no result can come any more.
    pub fn close(&self) {
        self.results().clear();
    }

    fn results(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<ResultMeta>>>> {
        lock(&self.results)
    }
}

impl fmt::Debug for PendingResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingResults").field("results", &self.results().len()).finish()
    }
}

/// Ends the wait of one caller when dropped.
struct PendingResultGuard {
    pending: Arc<PendingResults>,
    task_id: String,
    alive: watch::Receiver<Option<ResultMeta>>,
}

impl Drop for PendingResultGuard {
    fn drop(&mut self) {
        let mut results = self.pending.results();
        // Another wait for the same id may have replaced this one; then its channel is closed already.
        if self.alive.has_changed().is_ok() {
            results.remove(&self.task_id);
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
        let pending = Arc::new(PendingResults::default());
        let mut expected = pending.expect("a");
        assert!(pending.accept(success("a", 1)));
        assert!(pending.accept(success("a", 2)));
        assert_eq!(expected.newest().borrow().as_ref().unwrap().result, 1);
        assert!(!pending.accept(success("b", 1)));
    }

    #[test]
    fn a_second_wait_replaces_the_first_and_stays() {
        let pending = Arc::new(PendingResults::default());
        let first = pending.expect("a");
        let mut second = pending.expect("a");
        drop(first);
        assert!(pending.accept(success("a", 1)));
        assert!(second.newest().borrow().is_some());
        drop(second);
        assert!(!pending.accept(success("a", 1)));
    }
}
