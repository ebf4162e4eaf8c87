//! Names that lookups do not find although they exist.

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
        self.machine().tree.hidden.denied()
    }
}

impl Tree {
    pub(super) fn hide(&self, path: &Path, lookups: u32) -> bool {
        let Ok((dir, name)) = self.find_parent(path) else { return false };
        let there = self.lookup(dir, &name).is_some();
        if there {
            self.hidden.hide(dir, name, lookups);
        }
        there
    }
}
