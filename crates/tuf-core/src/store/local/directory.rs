//! The directory of a store: its settings, paths and sub-directories.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use durable_fs::durable::{self, TempFile, WriteBatch, is_nfs_remnant, is_temp_name};
use durable_fs::{FileKind, Fs, ReadFile};

use super::super::error::StoreError;
use super::super::name::FileName;
use super::super::sync::lock;

/// A [`Store`](crate::store::Store) in a directory of a local or network file system.
#[derive(Clone)]
pub struct LocalStore {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) root: PathBuf,
    pub(super) file_mode: u32,
    pub(super) dir_mode: u32,
    /// Sub-directories known to exist durably.
    pub(super) dirs: Arc<Mutex<HashSet<PathBuf>>>,
    pub(super) open_staged: Arc<AtomicUsize>,
    /// The batch of the staged files that have no names yet.
    pub(super) staged_batch: Arc<Mutex<Weak<WriteBatch>>>,
}

impl LocalStore {
    /// A store in `root`, a directory that must exist when files are written ([`LocalStore::make_root`]). Files are
    /// readable by all (mode 0644, directories 0755, less the umask).
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf) -> Self {
        Self {
            fs,
            root,
            file_mode: 0o644,
            dir_mode: 0o755,
            dirs: Arc::default(),
            open_staged: Arc::default(),
            staged_batch: Arc::default(),
        }
    }

    /// Other modes for files and directories it creates, such as `0o640` and `0o750` for a store that is not served.
    #[must_use]
    pub fn with_modes(mut self, file: u32, dir: u32) -> Self {
        self.file_mode = file;
        self.dir_mode = dir;
        self
    }

    /// Makes the root directory and its missing parents, durably.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn make_root(&self) -> Result<(), StoreError> {
        durable::create_dir_all(self.fs.as_ref(), &self.root, self.dir_mode)
            .map_err(|error| StoreError::from_io("create the store", self.root.display().to_string(), error))
    }

    /// The directory it is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, name: &FileName) -> PathBuf {
        self.root.join(name.as_str())
    }

    pub(super) fn dir_path(&self, dir: &str) -> Result<PathBuf, StoreError> {
        Ok(match dir {
            // The trailing slash lets a configured root be a link.
            "" => self.root.join(""),
            _ => self.path(&FileName::new(dir)?),
        })
    }

    /// Makes the sub-directory `dir` and its parents; `""` is the root, which is never made.
    pub(super) fn make_dir(&self, dir: &str) -> io::Result<()> {
        if dir.is_empty() || self.known().contains(Path::new(dir)) {
            return Ok(());
        }
        // `create_dir_all` would make the root too: a missing mount must stay missing.
        self.nothing(())?;
        for (end, _) in dir.match_indices('/').chain([(dir.len(), "")]) {
            let above = dir.get(..end).unwrap_or(dir);
            if !self.known().contains(Path::new(above)) {
                durable::create_dir_all(self.fs.as_ref(), &self.root.join(above), self.dir_mode)?;
                self.known().insert(PathBuf::from(above));
            }
        }
        Ok(())
    }

    pub(super) fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        lock(&self.dirs)
    }

    /// Runs an operation that needs sub-directories. If a known one is gone, it makes them and runs the operation
    /// again.
    pub(super) fn in_dirs<T>(&self, dirs: &BTreeSet<String>, mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        dirs.iter().try_for_each(|dir| self.make_dir(dir))?;
        match run() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.known().clear();
                dirs.iter().try_for_each(|dir| self.make_dir(dir))?;
                run()
            }
            other => other,
        }
    }

    pub(super) fn temp(&self, dir: &str) -> io::Result<TempFile<'_>> {
        let dirs = BTreeSet::from([dir.to_owned()]);
        self.in_dirs(&dirs, || TempFile::new(self.fs.as_ref(), &self.root.join(dir), self.file_mode))
    }

    /// The batch that a file joins which is about to be staged in `dir`: that of the staged files before it. It must begin
    /// before the first of them is written.
    pub(super) fn join_batch(&self, dir: &str) -> io::Result<Arc<WriteBatch>> {
        let dirs = BTreeSet::from([dir.to_owned()]);
        let path = self.root.join(dir);
        let mut shared = lock(&self.staged_batch);
        if let Some(batch) = shared.upgrade().filter(|batch| batch.covers(self.fs.as_ref(), &path)) {
            return Ok(batch);
        }
        let batch = Arc::new(self.in_dirs(&dirs, || WriteBatch::begin(self.fs.as_ref(), [path.as_path()]))?);
        *shared = Arc::downgrade(&batch);
        Ok(batch)
    }

    pub(super) fn entries(&self, dir: &str, kind: FileKind) -> Result<Vec<String>, StoreError> {
        let path = self.dir_path(dir)?;
        let entries = self.there(durable::retry_stale(|| self.fs.read_dir(&path)));
        let mut names: Vec<String> = entries
            .map_err(|error| self.error("list", dir, error))?
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.kind == kind && !is_temp_name(&entry.name) && !is_nfs_remnant(&entry.name))
            // This store writes no names that are not UTF-8.
            .filter_map(|entry| entry.name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// `None` for a missing file in a store that exists.
    pub(super) fn there<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => self.nothing(None),
            Err(error) => Err(error),
        }
    }

    /// `answer` if the root exists: if the mount is missing, nothing is known to be absent.
    pub(super) fn nothing<T>(&self, answer: T) -> io::Result<T> {
        durable::retry_stale(|| self.fs.stat(&self.root.join("."))).map(|_| answer)
    }

    pub(super) fn open_file(&self, name: &FileName) -> io::Result<Option<Box<dyn ReadFile>>> {
        self.there(durable::retry_stale(|| self.fs.open(&self.path(name))))
    }

    pub(super) fn error(&self, doing: &'static str, name: &str, error: io::Error) -> StoreError {
        let missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let name = if missing(&error) && self.fs.stat(&self.root.join(".")).is_err_and(|error| missing(&error)) {
            format!("{} (is its mount missing?)", self.root.display())
        } else if name.is_empty() {
            self.root.display().to_string()
        } else {
            name.to_owned()
        };
        StoreError::from_io(doing, name, error)
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore").field("root", &self.root).finish_non_exhaustive()
    }
}
