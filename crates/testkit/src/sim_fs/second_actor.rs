//! A hook that runs before the calls of a program.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Gets the number of the call.
type Hook = Arc<dyn Fn(usize) + Send + Sync>;

#[derive(Default)]
pub(super) struct SecondActor {
    hook: Mutex<Option<Hook>>,
    acting: AtomicBool,
    calls: AtomicUsize,
}

impl SecondActor {
    pub(super) fn set(&self, hook: Hook) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts a call, and runs the hook if there is one.
    pub(super) fn act(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hook) = hook else { return };
        // Its own calls do not run it again.
        if !self.acting.swap(true, Ordering::SeqCst) {
            hook(call);
            self.acting.store(false, Ordering::SeqCst);
        }
    }
}
