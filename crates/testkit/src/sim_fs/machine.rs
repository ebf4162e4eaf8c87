//! The machine: operations, their count, and the faults planned for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::node::{FollowLinks, Inode, Node, ROOT};
use super::power_cut::POWER_CUT;
use super::tree::Tree;

/// The operation at which the machine stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlannedStop {
    /// Before the operation happens.
    Before(usize),
    /// After the operation has happened, before the reply.
    After(usize),
}

/// An operation that a program called.
pub(super) struct LoggedOperation {
    name: &'static str,
    path: PathBuf,
    to: Option<PathBuf>,
}

impl fmt::Display for LoggedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, steady(&self.path))?;
        self.to.as_ref().map_or(Ok(()), |to| write!(f, " -> {}", steady(to)))
    }
}

/// A path without the part of a temporary name that differs from run to run.
fn steady(path: &Path) -> String {
    match path.file_name() {
        Some(name) if durable_fs::durable::is_temp_name(name) => path.with_file_name(".tmp").display().to_string(),
        _ => path.display().to_string(),
    }
}

pub(super) struct Machine {
    pub(super) tree: Tree,
    pub(super) clock: i64,
    pub(super) capacity: u64,
    /// Number of restarts. Handles of earlier runs are useless.
    pub(super) generation: u64,
    pub(super) dead: bool,
    pub(super) locked: BTreeSet<u64>,
    pub(super) log: Vec<LoggedOperation>,
    pub(super) stop: Option<PlannedStop>,
    pub(super) repeat: BTreeSet<usize>,
    pub(super) fail: BTreeMap<usize, ErrorKind>,
    pub(super) fail_paths: Vec<(PathBuf, ErrorKind)>,
    pub(super) refuse_writes: Vec<(PathBuf, ErrorKind)>,
    pub(super) refusals: usize,
    /// Operations before which unsynced bytes are lost.
    pub(super) lose: BTreeSet<usize>,
    /// Operations that make a name, and how many lookups do not find it.
    pub(super) hide: BTreeMap<usize, u32>,
    /// How often the write-back of any file failed.
    pub(super) write_errors: u64,
    pub(super) reports_files: bool,
}

impl Default for Machine {
    fn default() -> Self {
        let clock = 1_000_000_000;
        Self {
            tree: Tree::new(clock),
            clock,
            capacity: u64::MAX,
            generation: 0,
            dead: false,
            locked: BTreeSet::new(),
            log: Vec::new(),
            stop: None,
            repeat: BTreeSet::new(),
            fail: BTreeMap::new(),
            fail_paths: Vec::new(),
            refuse_writes: Vec::new(),
            refusals: 0,
            lose: BTreeSet::new(),
            hide: BTreeMap::new(),
            write_errors: 0,
            reports_files: true,
        }
    }
}

impl Machine {
    pub(super) fn fork(&self) -> Self {
        Self {
            tree: self.tree.clone(),
            clock: self.clock,
            capacity: self.capacity,
            dead: self.dead,
            reports_files: self.reports_files,
            ..Self::default()
        }
    }

    pub(super) fn heal(&mut self) {
        self.stop = None;
        self.repeat.clear();
        self.fail.clear();
        self.fail_paths.clear();
        self.refuse_writes.clear();
        self.lose.clear();
        self.hide.clear();
        self.tree.hidden.show_all();
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::new(POWER_CUT, "simulated power cut")) } else { Ok(()) }
    }

    pub(super) fn alive_since(&self, generation: u64) -> io::Result<()> {
        self.alive()?;
        if self.generation == generation {
            return Ok(());
        }
        Err(io::Error::new(POWER_CUT, "opened before a simulated power cut"))
    }

    pub(super) fn path_fault(&self, path: &Path) -> io::Result<()> {
        match self.fail_paths.iter().find(|(faulty, _)| path.starts_with(faulty)) {
            Some((_, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }

    fn refused_write(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let found = self.refuse_writes.iter().find(|(mount, _)| path.starts_with(mount)).map(|(_, kind)| *kind);
        // A full disk still allows these.
        let needs_none = matches!(name, "unlink" | "rmdir" | "rename" | "sync" | "sync_dir" | "sync_all" | "set_mtime");
        let syncs = name.starts_with("sync");
        match found {
            Some(ErrorKind::StorageFull) if needs_none => Ok(()),
            Some(_) if syncs => Ok(()),
            Some(kind) => {
                self.refusals += 1;
                Err(kind.into())
            }
            None => Ok(()),
        }
    }

    pub(super) fn is_full(&mut self, dir: &Path) -> bool {
        let full =
            self.refuse_writes.iter().any(|(mount, kind)| dir.starts_with(mount) && *kind == ErrorKind::StorageFull);
        self.refusals += usize::from(full);
        full
    }

    pub(super) fn operation<T>(
        &mut self,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
        mut run: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.alive()?;
        let n = self.log.len();
        self.log.push(LoggedOperation { name, path: path.to_path_buf(), to: to.map(Path::to_path_buf) });
        if matches!(self.stop, Some(PlannedStop::Before(at)) if at <= n) {
            self.dead = true;
            self.alive()?;
        }
        if self.lose.contains(&n) {
            self.lose_unsynced();
        }
        if let Some(kind) = self.fail.get(&n) {
            return Err((*kind).into());
        }
        self.path_fault(path)?;
        to.map_or(Ok(()), |to| self.path_fault(to))?;
        self.refused_write(name, path)?;
        to.map_or(Ok(()), |to| self.refused_write(name, to))?;
        if self.repeat.contains(&n) {
            // The reply that is lost.
            let _ = run(self);
        }
        let result = run(self);
        if let Some(lookups) = self.hide.get(&n).copied()
            && result.is_ok()
            && matches!(name, "create" | "link" | "rename" | "mkdir")
        {
            self.tree.hide(to.unwrap_or(path), lookups);
        }
        if matches!(self.stop, Some(PlannedStop::After(at)) if at <= n) {
            self.dead = true;
            self.alive()?;
        }
        result
    }

    pub(super) fn create(&mut self, path: &Path, mode: u32) -> io::Result<u64> {
        let (dir, name) = self.tree.find_parent(path)?;
        self.create_in(dir, name, mode)
    }

    pub(super) fn create_in(&mut self, dir: u64, name: OsString, mode: u32) -> io::Result<u64> {
        self.add_in(dir, name, Node::File { data: Arc::default(), synced: 0 }, mode)
    }

    fn add_in(&mut self, dir: u64, name: OsString, node: Node, mode: u32) -> io::Result<u64> {
        if self.tree.lookup(dir, &name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // A removed directory that is still open.
        if self.tree.inode(dir).nlink == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        let inode = self.tree.add(Inode::new(node, mode, self.clock));
        self.tree.change(vec![(dir, name, Some(inode))], self.clock);
        Ok(inode)
    }

    pub(super) fn write(&mut self, inode: u64, position: usize, bytes: &[u8]) -> io::Result<()> {
        let grown = position.saturating_add(bytes.len()).saturating_sub(self.tree.data(inode).len());
        if self.tree.used.saturating_add(grown as u64) > self.capacity {
            return Err(ErrorKind::StorageFull.into());
        }
        self.tree.write(inode, position, bytes, self.clock);
        Ok(())
    }

    pub(super) fn write_first(&mut self, inode: u64, bytes: &[u8]) -> io::Result<()> {
        let grown = bytes.len().saturating_sub(self.tree.data(inode).len());
        if self.tree.used.saturating_add(grown as u64) > self.capacity {
            return Err(ErrorKind::StorageFull.into());
        }
        self.tree.write_first(inode, bytes, self.clock);
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.tree.find(from, FollowLinks::No)?;
        let (dir, name) = self.tree.find_parent(to)?;
        if self.tree.lookup(dir, &name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.tree.is_dir(inode) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.tree.change(vec![(dir, name, Some(inode))], self.clock);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (to_dir, to_name) = self.tree.find_parent(to)?;
        self.rename_into(from, to_dir, to_name)
    }

    pub(super) fn rename_into(&mut self, from: &Path, to_dir: u64, to_name: OsString) -> io::Result<()> {
        let (from_dir, from_name) = self.tree.find_parent(from)?;
        let inode = self.tree.lookup(from_dir, &from_name).ok_or(ErrorKind::NotFound)?;
        if self.tree.inode(to_dir).nlink == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        if let Some(there) = self.tree.lookup(to_dir, &to_name) {
            if there == inode {
                return Ok(());
            }
            match (self.tree.is_dir(inode), self.tree.is_dir(there)) {
                (true, false) => return Err(ErrorKind::NotADirectory.into()),
                (false, true) => return Err(ErrorKind::IsADirectory.into()),
                (true, true) if !self.tree.is_empty_dir(there) => {
                    return Err(ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        if self.tree.is_below(to_dir, inode) {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.tree.change(vec![(from_dir, from_name, None), (to_dir, to_name, Some(inode))], self.clock);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let (dir, name) = self.tree.find_parent(path)?;
        self.create_dir_in(dir, name, mode)
    }

    pub(super) fn create_dir_in(&mut self, dir: u64, name: OsString, mode: u32) -> io::Result<()> {
        self.add_in(dir, name, Node::dir(), mode).map(drop)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.tree.find_parent(path)?;
        self.remove_file_in(dir, name)
    }

    pub(super) fn remove_file_in(&mut self, dir: u64, name: OsString) -> io::Result<()> {
        let inode = self.tree.lookup(dir, &name).ok_or(ErrorKind::NotFound)?;
        if self.tree.is_dir(inode) {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.tree.change(vec![(dir, name, None)], self.clock);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.tree.find_parent(path)?;
        self.remove_dir_in(dir, name)
    }

    pub(super) fn remove_dir_in(&mut self, dir: u64, name: OsString) -> io::Result<()> {
        let inode = self.tree.lookup(dir, &name).ok_or(ErrorKind::NotFound)?;
        if !self.tree.is_dir(inode) {
            return Err(ErrorKind::NotADirectory.into());
        }
        if !self.tree.is_empty_dir(inode) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.tree.change(vec![(dir, name, None)], self.clock);
        Ok(())
    }

    pub(super) fn plant_dirs(&mut self, path: &Path) {
        let mut at = PathBuf::from("/");
        for component in path.components() {
            at.push(component);
            if at.parent().is_some() && self.tree.find(&at, FollowLinks::Yes).is_err() {
                self.plant(&at, Node::dir(), 0o755);
            }
        }
    }

    pub(super) fn plant(&mut self, path: &Path, node: Node, mode: u32) {
        if let Some(above) = path.parent() {
            self.plant_dirs(above);
        }
        if let Ok((dir, name)) = self.tree.find_parent(path) {
            let inode = self.tree.add(Inode::new(node, mode, self.clock));
            self.tree.change(vec![(dir, name, Some(inode))], self.clock);
            self.tree.sync_last_change();
        }
    }

    pub(super) fn corrupt(&mut self, path: &Path, bytes: Vec<u8>) -> bool {
        match self.tree.find(path, FollowLinks::No) {
            Ok(inode) if inode != ROOT => self.tree.corrupt(inode, bytes),
            _ => false,
        }
    }
}
