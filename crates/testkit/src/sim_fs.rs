//! A simulated file system that stops, forgets and repeats.
//!
//! [`SimFs`] is an [`Fs`] in memory that tells apart what a program sees from what would survive a power cut. A test
//! runs its work once to count the operations, then once for each of them with [`SimFs::stop_at`], takes what is left
//! with [`SimFs::crash`], starts its program again and checks.
//!
//! What survives: the bytes of a file that were there at its last [`sync`](durable_fs::WriteFile::sync), and the changes of
//! names up to the last [`sync_dir`](Fs::sync_dir) of a directory they touch. A rename between directories is one
//! change, kept or lost whole. Changes of *different* names may survive in any order, of the same name only in
//! theirs. [`sync_all`](Fs::sync_all) keeps everything.

mod crash;
mod handles;
mod state;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use durable_fs::{DirEntry, Fs, LockGuard, ReadFile, Space, Stat, WriteFile};

pub use crash::CrashMode;
use handles::{SimLock, SimRead, SimWrite};
use state::{State, Stop};
use tree::{Follow, Node};

/// The kind of every error between a stop and the following [`SimFs::crash`]; see [`is_power_cut`].
pub const POWER_CUT: ErrorKind = ErrorKind::HostUnreachable;

/// Whether an error says that the simulated machine has stopped.
#[must_use]
pub fn is_power_cut(error: &io::Error) -> bool {
    error.kind() == POWER_CUT
}

/// A simulated file system; clones share it. Paths are absolute (relative ones start at `/`).
///
/// *Operations* are all calls that change or sync something, every `write` of a file included; they are numbered from 0.
#[derive(Clone, Default)]
pub struct SimFs {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A lock was released, or the machine stopped.
    released: Condvar,
}

impl SimFs {
    /// An empty one: a durable `/`. Its clock stands at 1,000,000,000.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that shares nothing, without planned faults, and with a count of operations that starts at 0. Handles and
    /// locks stay with the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state().fork();
        Self { shared: Arc::new(Shared { state: Mutex::new(state), released: Condvar::new() }) }
    }

    /// Sets the clock (seconds since the Unix epoch) that modification times are taken from. It stands still.
    pub fn set_time(&self, seconds: i64) {
        self.state().clock = seconds;
    }

    /// The clock.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.state().clock
    }

    /// Bytes all files together may hold; writing beyond is `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Operation `n` does not happen, and from then on every operation fails ([`is_power_cut`]) until [`SimFs::crash`].
    pub fn stop_at(&self, n: usize) {
        self.state().stop = Some(Stop::Before(n));
    }

    /// As [`SimFs::stop_at`], but operation `n` happens and only its reply is lost.
    pub fn stop_after(&self, n: usize) {
        self.state().stop = Some(Stop::After(n));
    }

    /// Stops now.
    pub fn stop(&self) {
        self.state().dead = true;
        self.shared.released.notify_all();
    }

    /// Whether it has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().dead
    }

    /// Operation `n` is executed twice and the second reply returned, as an NFS client does when the first is lost.
    pub fn repeat_at(&self, n: usize) {
        self.state().repeat.insert(n);
    }

    /// Operation `n` does not happen and fails with `kind`; the run goes on.
    pub fn fail_at(&self, n: usize, kind: ErrorKind) {
        self.state().fail.insert(n, kind);
    }

    /// Everything done to `path` or below it fails with `kind`, reading included, until [`SimFs::heal`].
    pub fn fail_path(&self, path: impl Into<PathBuf>, kind: ErrorKind) {
        self.state().fail_paths.push((path.into(), kind));
    }

    /// As a mount at `path` that is full (`StorageFull`) or read-only (any other kind): everything that writes there fails,
    /// until [`SimFs::heal`]. A full one still lets names be removed and renamed, and has no space.
    pub fn refuse_writes(&self, path: impl Into<PathBuf>, kind: ErrorKind) {
        self.state().refuse_writes.push((path.into(), kind));
    }

    /// How often something failed, or no space was found, because of [`SimFs::refuse_writes`].
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.state().refusals
    }

    /// Takes back all planned faults (not a stop that has happened).
    pub fn heal(&self) {
        self.state().heal();
    }

    /// How many operations there were since the start, [`SimFs::fork`] or [`SimFs::crash`].
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// The operations by number, as `link /a/.tmp -> /a/b`; names of temporary files are cut to what does not
    /// differ between runs.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.state().log.iter().map(ToString::to_string).collect()
    }

    /// The machine starts again with what `mode` keeps. Open files and locks of before stay useless, planned faults
    /// are taken back, and the count of operations starts at 0.
    pub fn crash(&self, mode: CrashMode) {
        self.state().crash(mode);
        self.shared.released.notify_all();
    }

    /// All regular files with their bytes, temporary ones included.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        self.state().tree.walk(&mut |path, inode| {
            if let Node::File { data, .. } = &inode.node {
                files.insert(path.to_path_buf(), data.to_vec());
            }
        });
        files
    }

    /// All paths, each followed by `/` for a directory, `@` for a link, `|` for another special file.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.state().tree.walk(&mut |path, inode| {
            let mark = match &inode.node {
                Node::File { .. } => "",
                Node::Dir { .. } => "/",
                Node::Symlink(_) => "@",
                Node::Other => "|",
            };
            paths.push(format!("{}{mark}", path.display()));
        });
        paths
    }

    /// The bytes of a regular file, even while stopped; `None` when there is none.
    #[must_use]
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let found = state.tree.find(path.as_ref(), Follow::No).ok()?;
        match &state.tree.inode(found).node {
            Node::File { data, .. } => Some(data.to_vec()),
            _ => None,
        }
    }

    /// Puts a file there, with the directories above it, all durable; replaces what has the name. Not counted.
    pub fn plant(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.state().plant(path.as_ref(), Node::File { synced: bytes.len(), data: Arc::new(bytes) }, 0o644);
    }

    /// Puts a directory there, with those above it, all durable. Not counted.
    pub fn plant_dir(&self, path: impl AsRef<Path>) {
        self.state().plant_dirs(path.as_ref());
    }

    /// Puts a symbolic link there. Not counted.
    pub fn plant_symlink(&self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.state().plant(path.as_ref(), Node::Symlink(target.into()), 0o777);
    }

    /// Puts a FIFO there. Not counted.
    pub fn plant_fifo(&self, path: impl AsRef<Path>) {
        self.state().plant(path.as_ref(), Node::Other, 0o644);
    }

    /// Changes the bytes of an existing file in place, for all its names, durably. `false` when there is none. Not counted.
    pub fn corrupt(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> bool {
        self.state().corrupt(path.as_ref(), bytes.into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a counted operation.
    fn operation<T>(
        &self,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
        run: impl FnMut(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.finish(self.state(), name, path, to, run)
    }

    fn finish<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
        run: impl FnMut(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = state.operation(name, path, to, run);
        if state.dead {
            self.shared.released.notify_all();
        }
        result
    }

    /// Runs an operation that changes nothing.
    fn look<T>(&self, path: &Path, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        state.alive()?;
        state.path_fault(path)?;
        run(&mut state)
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl Fs for SimFs {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let (inode, generation) = self.operation("create", path, None, |state| {
            let inode = state.create(path, mode)?;
            Ok((inode, state.generation))
        })?;
        Ok(Box::new(SimWrite { fs: self.clone(), path: path.to_path_buf(), inode, generation, position: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.look(path, |state| {
            let inode = state.tree.find(path, Follow::No)?;
            state.tree.must_be_file(inode)?;
            Ok(Box::new(SimRead { fs: self.clone(), inode, generation: state.generation, position: 0 })
                as Box<dyn ReadFile>)
        })
    }

    fn open_beneath(&self, dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.look(&dir.join(relative), |state| {
            let dir = state.tree.find(dir, Follow::Yes)?;
            let inode = state.tree.find_beneath(dir, relative)?;
            state.tree.must_be_file(inode)?;
            Ok(Box::new(SimRead { fs: self.clone(), inode, generation: state.generation, position: 0 })
                as Box<dyn ReadFile>)
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation("sync_dir", dir, None, |state| {
            let inode = state.tree.find_dir(dir, Follow::Yes)?;
            state.tree.sync_dir(inode);
            Ok(())
        })
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.operation("sync_all", dir, None, |state| {
            state.tree.find_dir(dir, Follow::Yes)?;
            state.tree.sync_all();
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation("link", from, Some(to), |state| state.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation("rename", from, Some(to), |state| state.rename(from, to))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.operation("mkdir", path, None, |state| state.create_dir(path, mode))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operation("unlink", path, None, |state| state.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operation("rmdir", path, None, |state| state.remove_dir(path))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.look(dir, |state| {
            let inode = state.tree.find_dir(dir, Follow::No)?;
            Ok(state.tree.entries(inode))
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.look(path, |state| {
            let inode = state.tree.find(path, Follow::No)?;
            Ok(state.tree.stat(inode))
        })
    }

    fn set_mtime(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.operation("set_mtime", path, None, |state| {
            let inode = state.tree.find(path, Follow::No)?;
            state.tree.set_mtime(inode, seconds);
            Ok(())
        })
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.look(dir, |state| {
            state.tree.find_dir(dir, Follow::Yes)?;
            if state.is_full(dir) {
                return Ok(Space { bytes: 0, inodes: 0 });
            }
            Ok(Space { bytes: state.capacity.saturating_sub(state.tree.used), inodes: u64::MAX })
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let (inode, generation) = self.operation("lock", path, None, |state| {
            let inode = match state.tree.find(path, Follow::No) {
                Err(error) if error.kind() == ErrorKind::NotFound => state.create(path, 0o660)?,
                other => other?,
            };
            state.tree.must_be_file(inode)?;
            Ok((inode, state.generation))
        })?;
        let mut state = self.state();
        loop {
            state.alive_since(generation)?;
            if state.locked.insert(inode) {
                return Ok(Box::new(SimLock { fs: self.clone(), inode, generation }));
            }
            state = self.shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
