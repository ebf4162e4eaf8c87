//! The listener to the events of a worker's tasks.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::events::{TaskEvent, TaskEvents};

type Listener = Option<Arc<dyn TaskEvents>>;

/// Holds the one listener to task events, or none.
#[derive(Default)]
pub(in crate::worker) struct EventListener {
    listener: RwLock<Listener>,
}

impl EventListener {
    /// Replaces the listener.
    pub fn set(&self, listener: Listener) {
        *self.write() = listener;
    }

    /// Sets the listener unless there is one; whether it was set.
    pub fn offer(&self, offered: Arc<dyn TaskEvents>) -> bool {
        let mut listener = self.write();
        let free = listener.is_none();
        if free {
            *listener = Some(offered);
        }
        free
    }

    /// Sends an event to a listener that wants it; `event` is made only then.
    pub fn send(&self, event: impl FnOnce() -> TaskEvent) {
        if let Some(listener) = self.read().as_ref().filter(|listener| listener.wanted()) {
            listener.event(event());
        }
    }

    /// Does work that is only needed when a listener wants events.
    pub fn when_wanted(&self, work: impl FnOnce()) {
        if self.read().as_ref().is_some_and(|listener| listener.wanted()) {
            work();
        }
    }

    // A panic of a listener leaves the listener itself in place, whole.
    fn read(&self) -> RwLockReadGuard<'_, Listener> {
        self.listener.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Listener> {
        self.listener.write().unwrap_or_else(PoisonError::into_inner)
    }
}
