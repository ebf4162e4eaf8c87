//! The names that lookups do not find.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

#[derive(Clone, Default)]
pub(super) struct HiddenNames {
    names: RefCell<HashMap<(u64, OsString), u32>>,
    looking: Cell<bool>,
    denied: Cell<usize>,
}

impl HiddenNames {
    /// Whether the calls that follow only look at names.
    pub(super) fn looking(&self, looking: bool) {
        self.looking.set(looking);
    }

    /// Whether a lookup of a name that exists does not find it.
    pub(super) fn hides(&self, dir: u64, name: &OsStr) -> bool {
        if !self.looking.get() || self.names.borrow().is_empty() {
            return false;
        }
        let mut names = self.names.borrow_mut();
        let key = (dir, name.to_owned());
        let Some(left) = names.get_mut(&key) else { return false };
        *left = left.saturating_sub(1);
        if *left == 0 {
            names.remove(&key);
        }
        self.denied.set(self.denied.get() + 1);
        true
    }

    /// Hides a name that exists.
    pub(super) fn hide(&self, dir: u64, name: OsString, lookups: u32) {
        if lookups > 0 {
            self.names.borrow_mut().insert((dir, name), lookups);
        }
    }

    pub(super) fn show_all(&self) {
        self.names.borrow_mut().clear();
    }

    /// How many lookups did not find a name.
    pub(super) fn denied(&self) -> usize {
        self.denied.get()
    }
}
