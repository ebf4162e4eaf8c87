//! The simulated file system: planning faults, crashing, looking inside.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::crash::CrashMode;
use super::machine::{Machine, PlannedStop};
use super::node::{FollowLinks, Node};
use super::second_actor::SecondActor;

/// A simulated file system. Clones share it. Paths are absolute (relative ones start at `/`).
///
/// *Operations* are all calls that change or sync data or names, every `write` of a file included. They are numbered from 0.
#[derive(Clone, Default)]
pub struct SimFs {
    pub(super) shared: Arc<SharedMachine>,
}

#[derive(Default)]
pub(super) struct SharedMachine {
    machine: Mutex<Machine>,
    /// Signals that a lock was released, or that the machine stopped.
    pub(super) released: Condvar,
    pub(super) second_actor: SecondActor,
    /// Entries of directories that a program has read.
    pub(super) entries_read: AtomicUsize,
}

impl SimFs {
    /// An empty file system: a durable `/`. Its clock stands at 1,000,000,000.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy, without planned faults, with a count of operations that starts at 0. Handles and locks stay with
    /// the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        let machine = self.machine().fork();
        Self { shared: Arc::new(SharedMachine { machine: Mutex::new(machine), ..SharedMachine::default() }) }
    }

    /// Sets the clock for modification times (seconds since the Unix epoch). The clock stands still.
    pub fn set_time(&self, seconds: i64) {
        self.machine().clock = seconds;
    }

    /// The clock.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.machine().clock
    }

    /// Lets all changes within a second have the same time, as on some file systems. Otherwise no two changes have.
    pub fn set_coarse_times(&self, coarse: bool) {
        self.machine().tree.coarse_times = coarse;
    }

    /// Limits the bytes of all files together. A write beyond the limit is `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.machine().capacity = bytes;
    }

    /// Operation `n` does not happen, and from then on every operation fails
    /// ([`is_power_cut`](super::is_power_cut)) until [`SimFs::crash`].
    pub fn stop_at(&self, n: usize) {
        self.machine().stop = Some(PlannedStop::Before(n));
    }

    /// As [`SimFs::stop_at`], but operation `n` happens and only its reply is lost.
    pub fn stop_after(&self, n: usize) {
        self.machine().stop = Some(PlannedStop::After(n));
    }

    /// Stops now.
    pub fn stop(&self) {
        self.machine().dead = true;
        self.shared.released.notify_all();
    }

    /// Whether it has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.machine().dead
    }

    /// Operation `n` is executed twice and the second reply returned, as an NFS client does when the first is lost.
    pub fn repeat_at(&self, n: usize) {
        self.machine().repeat.insert(n);
    }

    /// Operation `n` does not happen and fails with `kind`; the run continues.
    pub fn fail_at(&self, n: usize, kind: ErrorKind) {
        self.machine().fail.insert(n, kind);
    }

    /// Everything done to `path` or below it fails with `kind`, reading included, until [`SimFs::heal`].
    pub fn fail_path(&self, path: impl Into<PathBuf>, kind: ErrorKind) {
        self.machine().fail_paths.push((path.into(), kind));
    }

    /// Makes `path` a mount that is full (`StorageFull`) or read-only (any other kind): every write there fails, until
    /// [`SimFs::heal`]. A full mount still lets names be removed and renamed, and reports no free space.
    pub fn refuse_writes(&self, path: impl Into<PathBuf>, kind: ErrorKind) {
        self.machine().refuse_writes.push((path.into(), kind));
    }

    /// How often a call failed, or no free space was reported, because of [`SimFs::refuse_writes`].
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.machine().refusals
    }

    /// Removes all planned faults and shows all names. A stop that has happened, and lost bytes, stay.
    pub fn heal(&self) {
        self.machine().heal();
    }

    /// Number of operations since the start, [`SimFs::fork`] or [`SimFs::crash`].
    #[must_use]
    pub fn operations(&self) -> usize {
        self.machine().log.len()
    }

    /// How many entries of directories a program has read since the start or [`SimFs::fork`]: of a list that it reads one by
    /// one, only those that it asked for.
    #[must_use]
    pub fn entries_read(&self) -> usize {
        self.shared.entries_read.load(Ordering::Relaxed)
    }

    /// The operations by number, as `link /a/.tmp -> /a/b`. Names of temporary files are cut to the part that is the same in
    /// all runs.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.machine().log.iter().map(ToString::to_string).collect()
    }

    /// Starts the machine again with the machine that `mode` keeps. Earlier open files and locks are useless, planned faults
    /// are removed, and the count of operations starts at 0.
    pub fn crash(&self, mode: CrashMode) {
        self.machine().crash(mode);
        self.shared.released.notify_all();
    }

    /// All regular files with their bytes, temporary ones included.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        self.machine().tree.walk(&mut |path, inode| {
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
        self.machine().tree.walk(&mut |path, inode| {
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
        let machine = self.machine();
        let found = machine.tree.find(path.as_ref(), FollowLinks::No).ok()?;
        match &machine.tree.inode(found).node {
            Node::File { data, .. } => Some(data.to_vec()),
            _ => None,
        }
    }

    /// Makes a file, with the directories above it, all durable. Replaces a file of that name. Not counted.
    pub fn plant(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.machine().plant(path.as_ref(), Node::File { synced: bytes.len(), data: Arc::new(bytes) }, 0o644);
    }

    /// Makes a directory, with those above it, all durable. Not counted.
    pub fn plant_dir(&self, path: impl AsRef<Path>) {
        self.machine().plant_dirs(path.as_ref());
    }

    /// Makes a symbolic link. Not counted.
    pub fn plant_symlink(&self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.machine().plant(path.as_ref(), Node::Symlink(target.into()), 0o777);
    }

    /// Makes a FIFO. Not counted.
    pub fn plant_fifo(&self, path: impl AsRef<Path>) {
        self.machine().plant(path.as_ref(), Node::Other, 0o644);
    }

    /// Changes the bytes of an existing file in place, for all its names, durably. `false` when there is none. Not counted.
    pub fn corrupt(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> bool {
        self.machine().corrupt(path.as_ref(), bytes.into())
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.shared.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a counted operation.
    pub(super) fn operation<T>(
        &self,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
        run: impl FnMut(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        self.act();
        self.finish(self.machine(), name, path, to, run)
    }

    pub(super) fn finish<T>(
        &self,
        mut machine: MutexGuard<'_, Machine>,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
        run: impl FnMut(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = machine.operation(name, path, to, run);
        if machine.dead {
            self.shared.released.notify_all();
        }
        result
    }

    /// Runs a call that changes nothing. Not counted.
    pub(super) fn read<T>(&self, path: &Path, run: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        self.act();
        let mut machine = self.machine();
        machine.alive()?;
        machine.path_fault(path)?;
        machine.tree.hidden.looking(true);
        let result = run(&mut machine);
        machine.tree.hidden.looking(false);
        result
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").field("operations", &self.operations()).finish_non_exhaustive()
    }
}
