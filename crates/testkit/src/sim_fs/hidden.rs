//! Names that lookups do not find although they exist.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::sim::SimFs;
use super::tree::Tree;

impl SimFs {
    /// If operation `n` makes a name (`create`, `mkdir`, `link` or `rename`), the next `lookups` calls that look at the name do
    /// not find it: `stat` and `open` say `NotFound`, lists leave it out. An NFS client answers like this from a cached
    /// lookup that found nothing. Calls that change names see it.
    pub fn hide_at(&self, n: usize, lookups: u32) {
        self.machine().hide.insert(n, lookups);
    }

    /// As [`SimFs::hide_at`], now, for a name that exists. `false` when it does not.
    pub fn hide(&self, path: impl AsRef<Path>, lookups: u32) -> bool {
        self.machine().tree.hide(path.as_ref(), lookups)
    }

    /// How many lookups did not find a hidden name since the start or [`SimFs::fork`].
    #[must_use]
    pub fn lookups_denied(&self) -> usize {
        self.machine().tree.hidden.denied.get()
    }
}

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
}

impl Tree {
    pub(super) fn hide(&self, path: &Path, lookups: u32) -> bool {
        let Ok((dir, name)) = self.find_parent(path) else { return false };
        let there = self.lookup(dir, &name).is_some();
        if there && lookups > 0 {
            self.hidden.names.borrow_mut().insert((dir, name), lookups);
        }
        there
    }

    pub(super) fn show_all(&self) {
        self.hidden.names.borrow_mut().clear();
    }
}
