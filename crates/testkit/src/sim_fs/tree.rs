//! Directories and files: the state that a program sees, and the durable state.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use durable_fs::{FileKind, Stat};

use super::hidden_names::HiddenNames;
use super::node::{Inode, Node, ROOT};

/// A change of one name: its directory, the name, and the inode that it names afterwards.
pub(super) type Edit = (u64, OsString, Option<u64>);

/// A change of names that is not durable.
#[derive(Clone)]
pub(super) struct PendingChange {
    edits: Vec<Edit>,
    ctime: (i64, u32),
}

#[derive(Clone)]
pub(super) struct Tree {
    pub(super) inodes: HashMap<u64, Inode>,
    next: u64,
    /// Changes of names that are not durable, in their order; each survives whole or not at all.
    pub(super) pending: Vec<PendingChange>,
    /// Files with bytes or times that may not be durable.
    pub(super) dirty: BTreeSet<u64>,
    /// Bytes in files that have a name.
    pub(super) used: u64,
    /// Changes so far: each has a time of its own within a second, unless `coarse_times`.
    changes: u32,
    pub(super) coarse_times: bool,
    /// Names that lookups do not find.
    pub(super) hidden: HiddenNames,
}

impl Tree {
    pub(super) fn new(time: i64) -> Self {
        let mut root = Inode::new(Node::dir(), 0o755, time);
        root.nlink = 1;
        Self {
            inodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
            pending: Vec::new(),
            dirty: BTreeSet::new(),
            used: 0,
            changes: 0,
            coarse_times: false,
            hidden: HiddenNames::default(),
        }
    }

    /// Notes that an inode has changed at `time`.
    fn touch(&mut self, id: u64, time: i64) {
        if !self.coarse_times {
            self.changes += 1;
        }
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.ctime = (time, self.changes);
        }
    }

    /// Numbers come from [`Tree::add`] and are never taken back before a crash, after which no handle is used.
    pub(super) fn inode(&self, id: u64) -> &Inode {
        &self.inodes[&id]
    }

    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        let id = self.next;
        self.next += 1;
        self.inodes.insert(id, inode);
        id
    }

    pub(super) fn lookup(&self, dir: u64, name: &OsStr) -> Option<u64> {
        match &self.inode(dir).node {
            Node::Dir { names, .. } => names.get(name).copied().filter(|_| !self.hidden.hides(dir, name)),
            _ => None,
        }
    }

    pub(super) fn is_dir(&self, id: u64) -> bool {
        matches!(self.inode(id).node, Node::Dir { .. })
    }

    pub(super) fn is_empty_dir(&self, id: u64) -> bool {
        matches!(&self.inode(id).node, Node::Dir { names, .. } if names.is_empty())
    }

    /// Whether `dir` is `top` or below it.
    pub(super) fn is_below(&self, dir: u64, top: u64) -> bool {
        let mut stack = vec![top];
        while let Some(at) = stack.pop() {
            if at == dir {
                return true;
            }
            if let Node::Dir { names, .. } = &self.inode(at).node {
                stack.extend(names.values().copied().filter(|below| self.is_dir(*below)));
            }
        }
        false
    }

    pub(super) fn stat(&self, id: u64) -> Stat {
        let inode = self.inode(id);
        Stat {
            kind: match inode.node {
                Node::File { .. } => FileKind::File,
                Node::Dir { .. } => FileKind::Dir,
                Node::Symlink(_) => FileKind::Symlink,
                Node::Other => FileKind::Other,
            },
            len: inode.len(),
            mode: inode.mode,
            uid: 0,
            gid: 0,
            nlink: inode.nlink,
            id: (1, id),
            mtime: inode.mtime,
            mtime_nanos: 0,
            ctime: inode.ctime.0,
            ctime_nanos: inode.ctime.1,
        }
    }

    pub(super) fn data(&self, id: u64) -> &[u8] {
        match &self.inode(id).node {
            Node::File { data, .. } => data,
            _ => &[],
        }
    }

    pub(super) fn write(&mut self, id: u64, position: usize, bytes: &[u8], time: i64) {
        let Some(inode) = self.inodes.get_mut(&id) else {
            return;
        };
        let before = inode.len();
        if let Node::File { data, synced } = &mut inode.node {
            let data = Arc::make_mut(data);
            // Bytes that a repeated request writes again are not durable any more.
            *synced = (*synced).min(position);
            data.truncate(position);
            data.extend_from_slice(bytes);
        }
        inode.mtime = time;
        inode.lost.retain_mut(|(start, end)| {
            *end = (*end).min(position);
            start < end
        });
        if inode.nlink > 0 {
            self.used = self.used.saturating_sub(before).saturating_add(inode.len());
        }
        self.dirty.insert(id);
        self.touch(id, time);
    }

    pub(super) fn write_first(&mut self, id: u64, bytes: &[u8], time: i64) {
        let Some(inode) = self.inodes.get_mut(&id) else {
            return;
        };
        let mut whole = bytes.to_vec();
        if let Node::File { data, .. } = &inode.node {
            whole.extend_from_slice(data.get(bytes.len()..).unwrap_or_default());
        }
        // Nothing of it is durable any more: a page is written again whole.
        self.write(id, 0, &whole, time);
    }

    pub(super) fn corrupt(&mut self, id: u64, bytes: Vec<u8>) -> bool {
        let is_file = self.must_be_file(id).is_ok();
        if is_file {
            let time = self.inode(id).mtime;
            self.write(id, 0, &bytes, time);
            self.sync_file(id);
        }
        is_file
    }

    pub(super) fn set_mtime(&mut self, id: u64, seconds: i64, time: i64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.mtime = seconds;
            self.dirty.insert(id);
        }
        self.touch(id, time);
    }

    /// Makes a change that programs see immediately and that becomes durable later.
    pub(super) fn change(&mut self, edits: Vec<Edit>, time: i64) {
        for (dir, name, to) in &edits {
            let mut old = None;
            if let Some(Inode { node: Node::Dir { names, .. }, mtime, .. }) = self.inodes.get_mut(dir) {
                old = match to {
                    Some(to) => names.insert(name.clone(), *to),
                    None => names.remove(name),
                };
                *mtime = time;
            }
            self.count(old, -1);
            self.count(*to, 1);
            for changed in [Some(*dir), old, *to].into_iter().flatten() {
                self.touch(changed, time);
            }
        }
        self.pending.push(PendingChange { edits, ctime: (time, self.changes) });
    }

    fn count(&mut self, id: Option<u64>, by: i64) {
        let Some(inode) = id.and_then(|id| self.inodes.get_mut(&id)) else {
            return;
        };
        let before = inode.nlink;
        inode.nlink = before.saturating_add_signed(by);
        let len = inode.len();
        match (before, inode.nlink) {
            (0, 1) => self.used = self.used.saturating_add(len),
            (1, 0) => self.used = self.used.saturating_sub(len),
            _ => {}
        }
    }

    pub(super) fn sync_file(&mut self, id: u64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.synced_mtime = inode.mtime;
            if let Node::File { data, synced } = &mut inode.node {
                *synced = data.len();
            }
        }
        self.dirty.remove(&id);
    }

    pub(super) fn sync_dir(&mut self, dir: u64) {
        let chosen =
            self.pending.iter().map(|change| change.edits.iter().any(|(touched, ..)| *touched == dir)).collect();
        self.commit(chosen);
    }

    pub(super) fn sync_all(&mut self) {
        self.commit(vec![true; self.pending.len()]);
        for id in std::mem::take(&mut self.dirty) {
            self.sync_file(id);
        }
    }

    pub(super) fn sync_last_change(&mut self) {
        let mut chosen = vec![false; self.pending.len()];
        if let Some(last) = chosen.last_mut() {
            *last = true;
        }
        self.commit(chosen);
    }

    /// Makes the chosen pending changes durable, and those before them of the same names.
    pub(super) fn commit(&mut self, mut chosen: Vec<bool>) {
        let mut keys: HashSet<(u64, &OsStr)> = HashSet::new();
        for (PendingChange { edits, .. }, chosen) in self.pending.iter().zip(&mut chosen).rev() {
            *chosen = *chosen || edits.iter().any(|(dir, name, _)| keys.contains(&(*dir, name.as_os_str())));
            if *chosen {
                keys.extend(edits.iter().map(|(dir, name, _)| (*dir, name.as_os_str())));
            }
        }
        drop(keys);
        let mut left = Vec::new();
        for (change, chosen) in std::mem::take(&mut self.pending).into_iter().zip(chosen) {
            if !chosen {
                left.push(change);
                continue;
            }
            for (dir, name, to) in change.edits {
                if let Some(inode) = to.and_then(|to| self.inodes.get_mut(&to)) {
                    inode.durable_ctime = change.ctime;
                }
                if let Some(Inode { node: Node::Dir { durable, .. }, .. }) = self.inodes.get_mut(&dir) {
                    match to {
                        Some(to) => durable.insert(name, to),
                        None => durable.remove(&name),
                    };
                }
            }
        }
        self.pending = left;
    }
}
