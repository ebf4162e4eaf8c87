//! Another process that changes names while a program works.

use std::path::Path;
use std::sync::Arc;

use super::machine::Machine;
use super::node::FollowLinks;
use super::sim::SimFs;

impl SimFs {
    /// Lets a second actor run before every call of the program: those that change something, `stat`, `open`, lists and so on
    /// alike, but not the reading of an open file. It gets the number of the call ([`SimFs::calls`] counts from 0), and
    /// changes things with [`SimFs::exchange`], [`SimFs::touch`] and the functions whose names begin with `plant`.
    pub fn set_second_actor(&self, actor: impl Fn(&Self, usize) + Send + Sync + 'static) {
        let shared = Arc::downgrade(&self.shared);
        self.shared.second_actor.set(Arc::new(move |call| {
            let Some(shared) = shared.upgrade() else { return };
            let fs = Self { shared };
            if !fs.is_stopped() {
                actor(&fs, call);
            }
        }));
    }

    /// Number of calls since the start or [`SimFs::fork`].
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.second_actor.calls()
    }

    /// Exchanges two names in one step, durably (`RENAME_EXCHANGE`). `false` when one of them is missing. Not counted.
    pub fn exchange(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) -> bool {
        self.machine().exchange(one.as_ref(), other.as_ref())
    }

    /// Sets the modification time of anything, durably. `false` when it is missing. Not counted.
    pub fn touch(&self, path: impl AsRef<Path>, seconds: i64) -> bool {
        self.machine().touch(path.as_ref(), seconds)
    }

    /// Lets the second actor run.
    pub(super) fn act(&self) {
        self.shared.second_actor.act();
    }
}

impl Machine {
    fn exchange(&mut self, one: &Path, other: &Path) -> bool {
        let (Ok((one_dir, one_name)), Ok((other_dir, other_name))) =
            (self.tree.find_parent(one), self.tree.find_parent(other))
        else {
            return false;
        };
        let found = (self.tree.lookup(one_dir, &one_name), self.tree.lookup(other_dir, &other_name));
        let (Some(first), Some(second)) = found else { return false };
        self.tree.change(vec![(one_dir, one_name, Some(second)), (other_dir, other_name, Some(first))], self.clock);
        self.tree.sync_last_change();
        true
    }

    fn touch(&mut self, path: &Path, seconds: i64) -> bool {
        let Ok(id) = self.tree.find(path, FollowLinks::No) else { return false };
        let Some(inode) = self.tree.inodes.get_mut(&id) else { return false };
        (inode.mtime, inode.synced_mtime) = (seconds, seconds);
        true
    }
}
