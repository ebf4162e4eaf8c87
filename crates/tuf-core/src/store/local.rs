//! A store in a directory.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use durable_fs::durable::{self, ByteSource, CreateOutcome, FileToCreate, TempFile, is_nfs_remnant, is_temp_name};
use durable_fs::{FileKind, Fs, ReadFile, WriteFile};

use super::staged::{copy_failed_from_source, copy_failed_in_store};
use super::{
    Behind, Content, CopyFile, Created, FileName, FileStat, LockGuard, NewFile, ReplaceOptions, Staged, Store,
    StoreError,
};
use crate::sha256::{CopyError, FileDigest, HashingCopier};

/// Staged files whose descriptor is kept, so that a small batch is synced file by file instead of by `syncfs`.
const OPEN_STAGED: usize = 16;
/// A long file that waits for its first bytes is synced before them, so that little is left to sync after.
const SYNCED_EARLY: usize = 256 << 10;
/// Up to this many copies are synced one by one.
const SYNCED_SINGLY: usize = 4;
/// Longest file name, in bytes.
const MAX_COMPONENT: usize = 255;
/// Before the name of a file that is being removed for its age. It begins as temporary names do, so that nothing lists it.
const LEAVING: &str = ".tmp-old-";

/// A [`Store`] in a directory of a local or network file system.
#[derive(Clone)]
pub struct LocalStore {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    file_mode: u32,
    dir_mode: u32,
    /// Sub-directories known to exist durably.
    dirs: Arc<Mutex<HashSet<PathBuf>>>,
    open_staged: Arc<AtomicUsize>,
}

impl LocalStore {
    /// A store in `root`, a directory that must exist when files are written ([`LocalStore::make_root`]). Files are
    /// readable by all (mode 0644, directories 0755, less the umask).
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf) -> Self {
        Self { fs, root, file_mode: 0o644, dir_mode: 0o755, dirs: Arc::default(), open_staged: Arc::default() }
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
    /// Whatever the file system said.
    pub fn make_root(&self) -> Result<(), StoreError> {
        durable::create_dir_all(self.fs.as_ref(), &self.root, self.dir_mode)
            .map_err(|error| StoreError::from_io("create the store", self.root.display().to_string(), error))
    }

    /// The directory it is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn dir_path(&self, dir: &str) -> Result<PathBuf, StoreError> {
        Ok(match dir {
            // The trailing slash lets a configured root be a link.
            "" => self.root.join(""),
            _ => self.path(&FileName::new(dir)?),
        })
    }

    /// Makes the sub-directory `dir` (`""` is the root, never made) and its parents.
    fn make_dir(&self, dir: &str) -> io::Result<()> {
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

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation that needs sub-directories; once more, after making them, when one that was known is gone.
    fn in_dirs<T>(&self, dirs: &BTreeSet<String>, mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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

    fn temp(&self, dir: &str) -> io::Result<TempFile<'_>> {
        let dirs = BTreeSet::from([dir.to_owned()]);
        self.in_dirs(&dirs, || TempFile::new(self.fs.as_ref(), &self.root.join(dir), self.file_mode))
    }

    /// Gives a temporary file a modification time above that of the file it will replace.
    fn raise_mtime(&self, temp: &mut TempFile<'_>, to: &Path, options: ReplaceOptions) -> io::Result<()> {
        let previous = durable::stat_if_there(self.fs.as_ref(), to)?.map(|stat| stat.mtime);
        if let Some(after) = previous.max(options.mtime_after) {
            let now = self.fs.stat(temp.path())?.mtime;
            if now <= after {
                temp.set_mtime(after.saturating_add(1))?;
            }
        }
        Ok(())
    }

    fn entries(&self, dir: &str, kind: FileKind) -> Result<Vec<String>, StoreError> {
        let path = self.dir_path(dir)?;
        let entries = self.there(durable::retry_stale(|| self.fs.read_dir(&path)));
        let mut names: Vec<String> = entries
            .map_err(|error| self.error("list", dir, error))?
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.kind == kind && !is_temp_name(&entry.name) && !is_nfs_remnant(&entry.name))
            // A name that is not UTF-8 is nothing this store wrote.
            .filter_map(|entry| entry.name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// `None` for a file that is not there, in a store that is.
    fn there<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => self.nothing(None),
            Err(error) => Err(error),
        }
    }

    /// `answer`, if the root is there: in a mount that is missing, nothing is known to be absent.
    fn nothing<T>(&self, answer: T) -> io::Result<T> {
        durable::retry_stale(|| self.fs.stat(&self.root.join("."))).map(|_| answer)
    }

    fn open_file(&self, name: &FileName) -> io::Result<Option<Box<dyn ReadFile>>> {
        self.there(durable::retry_stale(|| self.fs.open(&self.path(name))))
    }

    /// Removes a file unless it is newer. No file system removes on a condition, so the file is taken aside under
    /// another name first: what is then found to be new had been found by another writer before, and goes back; whoever
    /// looks for it later does not find it and makes it anew.
    ///
    /// Only files of `owner`, this process: another's cannot be refreshed by whoever finds it, so it stays.
    fn remove_if_older(&self, path: &Path, before: i64, owner: u32) -> io::Result<bool> {
        let fs = self.fs.as_ref();
        let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let mut aside = OsString::from(LEAVING);
        aside.push(base);
        // Longer names cannot be taken aside; they stay.
        if aside.len() > MAX_COMPONENT {
            return Ok(false);
        }
        let aside = dir.join(aside);
        match durable::stat_if_there(fs, path)? {
            Some(stat) if stat.kind == FileKind::File && stat.mtime < before && stat.uid == owner => {}
            _ => return Ok(false),
        }
        match durable::rename_over(fs, path, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        // Opened, because an NFS client answers `stat` from what it remembers.
        let old = durable::retry_stale(|| fs.open(&aside).and_then(|file| file.stat())).map(|stat| stat.mtime < before);
        if !old.as_ref().is_ok_and(|old| *old) {
            self.put_back(&aside, path)?;
            return old;
        }
        durable::remove_file_if_there(fs, &aside)
    }

    fn put_back(&self, aside: &Path, path: &Path) -> io::Result<()> {
        match durable::link_new(self.fs.as_ref(), aside, path) {
            // Somebody else put it back.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => durable::remove_file_if_there(self.fs.as_ref(), aside).map(drop),
        }
    }

    /// Removes `dir` and those above it, below the root, as far as they are empty.
    fn remove_empty(&self, dir: &str) {
        let mut dir = dir;
        while !dir.is_empty() && self.fs.remove_dir(&self.root.join(dir)).is_ok() {
            self.known().remove(Path::new(dir));
            dir = dir.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    fn error(&self, doing: &'static str, name: &str, error: io::Error) -> StoreError {
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

impl Store for LocalStore {
    fn create_all(&self, mut files: Vec<NewFile<'_>>) -> Result<Vec<Created>, StoreError> {
        const DOING: &str = "create";
        let dirs: BTreeSet<String> = files.iter().flat_map(|f| &f.names).map(|name| name.dir().to_owned()).collect();
        let paths: Vec<Vec<PathBuf>> =
            files.iter().map(|file| file.names.iter().map(|name| self.path(name)).collect()).collect();
        let label = match files.first().and_then(|file| file.names.first()) {
            None => String::new(),
            Some(name) if files.len() == 1 => name.as_str().to_owned(),
            Some(name) => format!("{name} and {} other files", files.len().saturating_sub(1)),
        };
        // A staged file of another store would be looked for where it is not.
        for file in &files {
            let ours = match &file.content {
                Content::Bytes(_) => true,
                Content::Staged(staged) => staged.held.is::<StagedFile>(),
                Content::Behind(head, behind) => head.len() == behind.head && behind.held.is::<StagedFile>(),
            };
            if !ours {
                return Err(StoreError::Mismatch { doing: DOING, name: label });
            }
        }
        for file in &mut files {
            let Content::Behind(head, behind) = &mut file.content else { continue };
            match behind.held.downcast_mut::<StagedFile>().and_then(|held| held.file.as_mut()) {
                Some(file) => file.write_first(head).map_err(|error| self.error(DOING, &label, error))?,
                None => return Err(StoreError::Mismatch { doing: DOING, name: label }),
            }
        }
        let outcomes = self.in_dirs(&dirs, || {
            let mut parts: Vec<FileToCreate<'_>> = Vec::with_capacity(files.len());
            for (file, names) in files.iter_mut().zip(&paths) {
                let source = match &mut file.content {
                    Content::Bytes(bytes) => ByteSource::Bytes(bytes),
                    Content::Staged(Staged { held, .. }) | Content::Behind(_, Behind { held, .. }) => {
                        match held.downcast_mut::<StagedFile>() {
                            Some(held) => ByteSource::Temp(&held.path, held.file.take()),
                            None => return Err(ErrorKind::InvalidInput.into()),
                        }
                    }
                };
                parts.push(FileToCreate { names, source });
            }
            durable::create_files(self.fs.as_ref(), &mut parts, self.file_mode)
        });
        let outcomes = outcomes.map_err(|error| self.error(DOING, &label, error))?;
        for file in &mut files {
            if let Content::Staged(Staged { held, .. }) | Content::Behind(_, Behind { held, .. }) = &mut file.content
                && let Some(held) = held.downcast_mut::<StagedFile>()
            {
                held.named = false;
            }
        }
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome {
                CreateOutcome::Created => Created::New,
                CreateOutcome::SameBytes => Created::Same,
                CreateOutcome::Conflict => Created::Conflict,
            })
            .collect())
    }

    fn replace(&self, name: &FileName, bytes: &[u8], options: ReplaceOptions) -> Result<(), StoreError> {
        let path = self.path(name);
        let replaced = self.temp(name.dir()).and_then(|mut temp| {
            temp.write_bytes(bytes)?;
            self.raise_mtime(&mut temp, &path, options)?;
            temp.sync()?;
            temp.persist_over(&path)?;
            durable::sync_dir(self.fs.as_ref(), &self.root.join(name.dir()))
        });
        replaced.map_err(|error| self.error("replace", name.as_str(), error))
    }

    fn copy_all(&self, copies: &[CopyFile]) -> Result<Vec<FileDigest>, StoreError> {
        const DOING: &str = "copy";
        let fs = self.fs.as_ref();
        let singly = copies.len() <= SYNCED_SINGLY;
        let mut written = Vec::with_capacity(copies.len());
        let mut copier = HashingCopier::new();
        for copy in copies {
            let from = copy.from.as_str();
            let opened = self.open_file(&copy.from).map_err(|error| self.error(DOING, from, error))?;
            let mut source = opened.ok_or_else(|| StoreError::NotFound { doing: DOING, name: from.to_owned() })?;
            let in_to = |error| self.error(DOING, copy.to.as_str(), error);
            let mut temp = self.temp(copy.to.dir()).map_err(in_to)?;
            let max = copy.expected.map_or(u64::MAX, |expected| expected.length);
            let digest = match copier.copy(&mut source, max, |piece| temp.write_bytes(piece)) {
                Err(CopyError::TooLong { .. }) => None,
                other => Some(other.map_err(|error| copy_failed_in_store(error, DOING, from))?),
            };
            let digest = digest
                .filter(|digest| copy.expected.is_none_or(|expected| expected == *digest))
                .ok_or_else(|| StoreError::Mismatch { doing: DOING, name: from.to_owned() })?;
            self.raise_mtime(&mut temp, &self.path(&copy.to), copy.options).map_err(in_to)?;
            if singly {
                temp.sync().map_err(in_to)?;
            }
            temp.close();
            written.push((digest, temp));
        }
        let dirs: BTreeSet<PathBuf> = copies.iter().map(|copy| self.root.join(copy.to.dir())).collect();
        let dirs: BTreeSet<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        let in_root = |error| self.error(DOING, "", error);
        if !singly {
            durable::sync_mounts(fs, &dirs).map_err(in_root)?;
        }
        let mut digests = Vec::with_capacity(copies.len());
        for (copy, (digest, temp)) in copies.iter().zip(written) {
            let path = self.path(&copy.to);
            temp.persist_over(&path).map_err(|error| self.error(DOING, copy.to.as_str(), error))?;
            digests.push(digest);
        }
        durable::sync_dirs(fs, &dirs).map_err(in_root)?;
        Ok(digests)
    }

    fn read(&self, name: &FileName, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.there(durable::read_bounded(self.fs.as_ref(), &self.path(name), max)) {
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                Err(StoreError::TooLarge { doing: "read", name: name.as_str().to_owned(), max })
            }
            other => other.map_err(|error| self.error("read", name.as_str(), error)),
        }
    }

    fn open(&self, name: &FileName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let file = self.open_file(name).map_err(|error| self.error("open", name.as_str(), error))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    fn stat(&self, name: &FileName) -> Result<Option<FileStat>, StoreError> {
        let path = self.path(name);
        let stat = self.there(durable::retry_stale(|| self.fs.stat(&path)));
        let stat = stat.map_err(|error| self.error("stat", name.as_str(), error))?;
        Ok(stat.filter(|stat| stat.kind == FileKind::File).map(|stat| FileStat { len: stat.len, mtime: stat.mtime }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.entries(dir, FileKind::File)
    }

    fn list_dirs(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.entries(dir, FileKind::Dir)
    }

    fn remove(&self, names: &[FileName]) -> Result<(), StoreError> {
        const DOING: &str = "remove";
        let fs = self.fs.as_ref();
        let mut result = self.nothing(()).map_err(|error| self.error(DOING, "", error));
        let mut dirs = BTreeSet::new();
        for name in names {
            match durable::remove_file_if_there(fs, &self.path(name)) {
                Ok(_) => drop(dirs.insert(self.root.join(name.dir()))),
                Err(error) if error.kind() == ErrorKind::NotADirectory => {}
                Err(error) => result = result.and(Err(self.error(DOING, name.as_str(), error))),
            }
        }
        // Names that were not there may have been removed by a process that died before it synced.
        let dirs: BTreeSet<&Path> =
            dirs.iter().map(PathBuf::as_path).filter(|dir| fs.stat(&dir.join(".")).is_ok()).collect();
        result.and(durable::sync_dirs(fs, &dirs).map_err(|error| self.error(DOING, "", error)))
    }

    fn remove_older(&self, names: &[FileName], before: i64) -> Result<u64, StoreError> {
        const DOING: &str = "remove";
        let mut result = self.nothing(()).map_err(|error| self.error(DOING, "", error));
        let (mut removed, mut dirs) = (0_u64, BTreeSet::new());
        if names.is_empty() {
            return result.map(|()| 0);
        }
        let owner = TempFile::new(self.fs.as_ref(), &self.root.join(""), self.file_mode)
            .and_then(|temp| self.fs.stat(temp.path()))
            .map_err(|error| self.error(DOING, "", error))?
            .uid;
        for name in names {
            match self.remove_if_older(&self.path(name), before, owner) {
                Ok(gone) => {
                    removed += u64::from(gone);
                    dirs.insert(name.dir());
                }
                Err(error) => result = result.and(Err(self.error(DOING, name.as_str(), error))),
            }
        }
        for dir in dirs.iter().filter(|dir| !dir.is_empty()) {
            self.remove_empty(dir);
        }
        let paths: BTreeSet<PathBuf> = dirs.iter().map(|dir| self.root.join(dir)).collect();
        let there: BTreeSet<&Path> =
            paths.iter().map(PathBuf::as_path).filter(|dir| self.fs.stat(&dir.join(".")).is_ok()).collect();
        let synced = durable::sync_dirs(self.fs.as_ref(), &there).map_err(|error| self.error(DOING, "", error));
        result.and(synced).map(|()| removed)
    }

    fn stage(&self, dir: &str, reader: &mut dyn Read, max: u64) -> Result<Staged, StoreError> {
        const DOING: &str = "stage";
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let mut temp = self.temp(dir).map_err(|error| self.error(DOING, dir, error))?;
        let written = HashingCopier::new().copy(reader, max, |piece| temp.write_bytes(piece));
        let digest = written.map_err(|error| copy_failed_from_source(error, DOING, dir))?;
        let open = Arc::clone(&self.open_staged);
        if open.fetch_add(1, Ordering::Relaxed) >= OPEN_STAGED {
            temp.close();
        }
        let (path, file) = temp.keep();
        let held = StagedFile { fs: Arc::clone(&self.fs), path, file, named: true, open };
        Ok(Staged::new(digest, Box::new(held)))
    }

    fn stage_behind(&self, dir: &str, head: usize, pieces: &[&[u8]]) -> Result<Behind, StoreError> {
        const DOING: &str = "stage";
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let written = self.temp(dir).and_then(|mut temp| {
            temp.write_bytes(&vec![b' '; head])?;
            pieces.iter().try_for_each(|piece| temp.write_bytes(piece))?;
            if pieces.iter().map(|piece| piece.len()).sum::<usize>() >= SYNCED_EARLY {
                temp.sync()?;
            }
            Ok(temp.keep())
        });
        let (path, file) = written.map_err(|error| self.error(DOING, dir, error))?;
        let open = Arc::clone(&self.open_staged);
        open.fetch_add(1, Ordering::Relaxed);
        let held = StagedFile { fs: Arc::clone(&self.fs), path, file, named: true, open };
        Ok(Behind { head, held: Box::new(held) })
    }

    fn remove_stale(&self, dir: &str, before: i64) -> Result<u64, StoreError> {
        const DOING: &str = "remove temporary files in";
        let path = self.dir_path(dir)?;
        let entries = self.there(durable::retry_stale(|| self.fs.read_dir(&path)));
        let entries = entries.map_err(|error| self.error(DOING, dir, error))?.unwrap_or_default();
        let mut removed = 0_u64;
        for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::File && is_temp_name(&entry.name)) {
            let temp = path.join(&entry.name);
            if let Some(name) = entry.name.to_str().and_then(|name| name.strip_prefix(LEAVING)) {
                match self.put_back(&temp, &path.join(name)) {
                    // Another owner's, who will.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                    other => other.map_err(|error| self.error(DOING, dir, error))?,
                }
                continue;
            }
            if self.fs.stat(&temp).is_ok_and(|stat| stat.mtime < before)
                && durable::remove_file_if_there(self.fs.as_ref(), &temp).is_ok_and(|was| was)
            {
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    fn lock(&self, name: &FileName) -> Result<Box<dyn LockGuard>, StoreError> {
        let dirs = BTreeSet::from([name.dir().to_owned()]);
        self.in_dirs(&dirs, || self.fs.lock(&self.path(name))).map_err(|error| self.error("lock", name.as_str(), error))
    }
}

/// What a [`Staged`] of this store holds.
struct StagedFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    file: Option<Box<dyn WriteFile>>,
    named: bool,
    open: Arc<AtomicUsize>,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        self.file = None;
        self.open.fetch_sub(1, Ordering::Relaxed);
        if self.named {
            // A remnant wastes space and nothing else, and `remove_stale` finds it.
            let _ = self.fs.remove_file(&self.path);
        }
    }
}
