//! Bytes that the disk loses, as Linux reports it.
//!
//! A write-back fails once. The kernel marks the bytes as written, keeps showing them until it needs the memory, and
//! reports the error to the descriptors that are open at the time, once to each. A descriptor opened afterwards
//! gets nothing, because another process got the error already.

use std::sync::Arc;

use super::machine::Machine;
use super::node::{Inode, Node};
use super::sim::SimFs;
use super::tree::Tree;

impl SimFs {
    /// Before operation `n`, all unsynced bytes of all files are lost. Files and sync points that are open at the time get the
    /// error from their next `sync`, once. Files and sync points opened later do not get it: another process did.
    /// Programs still read the bytes, until [`SimFs::drop_caches`] or a power cut shows zeros, or a shorter file, in their place.
    pub fn lose_unsynced_at(&self, n: usize) {
        self.machine().lose.insert(n);
    }

    /// As [`SimFs::lose_unsynced_at`], now.
    pub fn lose_unsynced(&self) {
        self.machine().lose_unsynced();
    }

    /// How often bytes of a file were lost since the start or [`SimFs::fork`].
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.machine().write_errors
    }

    /// Programs read from now on what the disk holds of lost bytes.
    pub fn drop_caches(&self) {
        self.machine().tree.drop_caches();
    }

    /// Whether one sync of a mount reports lost bytes of each file. By default it does. If not, as on an overlay file system,
    /// only the file's own descriptor gets the error.
    pub fn set_reports_files(&self, reports: bool) {
        self.machine().reports_files = reports;
    }

    /// Makes everything durable. Not counted.
    pub fn sync_everything(&self) {
        self.machine().tree.sync_all();
    }
}

impl Machine {
    pub(super) fn lose_unsynced(&mut self) {
        for id in std::mem::take(&mut self.tree.dirty) {
            let Some(inode) = self.tree.inodes.get_mut(&id) else { continue };
            inode.synced_mtime = inode.mtime;
            if let Node::File { data, synced } = &mut inode.node
                && *synced < data.len()
            {
                inode.lost.push((*synced, data.len()));
                *synced = data.len();
                inode.write_errors += 1;
                self.write_errors += 1;
            }
        }
    }
}

impl Tree {
    pub(super) fn drop_caches(&mut self) {
        for (id, inode) in &mut self.inodes {
            let before = inode.len();
            forget(inode, *id);
            if inode.nlink > 0 {
                self.used = self.used.saturating_sub(before - inode.len());
            }
        }
    }
}

/// Of two files that lose their end, one has zeros there and one is shorter.
fn forget(inode: &mut Inode, id: u64) {
    let lost = std::mem::take(&mut inode.lost);
    let Node::File { data, synced } = &mut inode.node else { return };
    for (start, end) in lost.into_iter().rev() {
        let data = Arc::make_mut(data);
        if end == data.len() && id.is_multiple_of(2) {
            data.truncate(start);
            *synced = (*synced).min(start);
        } else if let Some(bytes) = data.get_mut(start..end) {
            bytes.fill(0);
        }
    }
}
