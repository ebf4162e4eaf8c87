//! The state after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use super::machine::Machine;
use super::node::{Inode, Node, ROOT};
use super::tree::Tree;

/// The state that a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Power cut: unsynced names and bytes are gone.
    DropUnsynced,
    /// Power cut: all names survive, but unsynced bytes are gone (files are empty, torn, or full of zeros).
    KeepNames,
    /// The process was killed: all names and bytes are as it saw them, and still not durable.
    KeepAll,
    /// Power cut: a random choice of the unsynced changes of names and bytes survives, by this seed.
    Mixed(u64),
}

impl CrashMode {
    /// One of each; the mixed one with `seed`.
    #[must_use]
    pub fn all(seed: u64) -> [Self; 4] {
        [Self::DropUnsynced, Self::KeepNames, Self::KeepAll, Self::Mixed(seed)]
    }
}

impl Machine {
    pub(super) fn crash(&mut self, mode: CrashMode) {
        self.generation += 1;
        self.dead = false;
        self.locked.clear();
        self.log.clear();
        self.heal();
        let mut random = Random(0);
        let pending = self.tree.pending.len();
        match mode {
            CrashMode::KeepAll => return,
            CrashMode::DropUnsynced => {}
            CrashMode::KeepNames => self.tree.commit(vec![true; pending]),
            CrashMode::Mixed(seed) => {
                random = Random(seed);
                // All shares, from almost nothing to almost everything.
                let share = random.below(101);
                let chosen = (0..pending).map(|_| random.below(100) < share).collect();
                self.tree.commit(chosen);
            }
        }
        self.tree.pending.clear();
        self.tree.drop_caches();
        // In order of their numbers, so that equal seeds give equal results.
        for id in std::mem::take(&mut self.tree.dirty) {
            if let Some(inode) = self.tree.inodes.get_mut(&id) {
                lose(inode, mode, id, &mut random);
            }
        }
        self.tree.restart();
    }
}

/// Loses unsynced bytes of a file.
fn lose(inode: &mut Inode, mode: CrashMode, id: u64, random: &mut Random) {
    let Node::File { data, synced } = &mut inode.node else {
        return;
    };
    let (len, unsynced) = (data.len(), data.len() - *synced);
    // How many of the unsynced bytes survive, and whether the length does.
    let (kept, zeros) = match mode {
        CrashMode::KeepAll => (unsynced, false),
        CrashMode::DropUnsynced => (0, false),
        CrashMode::KeepNames => match id % 3 {
            0 => (0, false),
            1 => (unsynced / 2, false),
            _ => (unsynced / 2, true),
        },
        CrashMode::Mixed(_) => match random.below(4) {
            0 => (0, false),
            1 => (unsynced, false),
            torn => (usize::try_from(random.below(unsynced as u64 + 1)).unwrap_or(0), torn == 2),
        },
    };
    if kept < unsynced {
        let data = Arc::make_mut(data);
        data.truncate(*synced + kept);
        if zeros {
            data.resize(len, 0);
        }
    }
    inode.mtime = inode.synced_mtime;
}

impl Tree {
    /// Reduces the tree to its durable part.
    fn restart(&mut self) {
        let mut links: HashMap<u64, u64> = HashMap::from([(ROOT, 1)]);
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            let Some(inode) = self.inodes.get_mut(&id) else {
                continue;
            };
            let durable_ctime = inode.durable_ctime;
            let Node::Dir { names, durable } = &mut inode.node else {
                continue;
            };
            names.clone_from(durable);
            inode.ctime = durable_ctime;
            for below in names.values() {
                let count = links.entry(*below).or_default();
                *count += 1;
                if *count == 1 {
                    todo.push(*below);
                }
            }
        }
        self.used = 0;
        self.inodes.retain(|id, inode| {
            inode.nlink = links.get(id).copied().unwrap_or(0);
            if let Node::File { data, synced } = &mut inode.node {
                *synced = data.len();
                if inode.nlink > 0 {
                    self.used += data.len() as u64;
                }
            }
            inode.synced_mtime = inode.mtime;
            inode.nlink > 0
        });
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
