//! The hook that long file work calls to show that it is alive, and to learn whether to continue.

use std::fmt;
use std::sync::OnceLock;

/// A function that long file work calls between two reads; it returns whether to continue.
#[derive(Default)]
pub(crate) struct ProgressHook(OnceLock<Box<dyn Fn() -> bool + Send + Sync>>);

impl ProgressHook {
    /// Sets the function; only the first one set is called.
    pub(crate) fn set(&self, hook: Box<dyn Fn() -> bool + Send + Sync>) {
        let _ = self.0.set(hook);
    }

    /// Calls the function. Without one, work continues.
    pub(crate) fn call(&self) -> bool {
        self.0.get().is_none_or(|hook| hook())
    }
}

impl fmt::Debug for ProgressHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressHook")
    }
}
