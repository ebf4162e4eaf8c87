//! The guarantees of every store.

use std::fmt::Debug;
use std::io::Read;
use std::time::Duration;

use durable_fs::LockGuard;

use super::error::StoreError;
use super::file::{CopyFile, Created, FileStat, NewFile, ReplaceOptions};
use super::name::FileName;
use super::staged::{StagedStream, StagedTail, copy_failed_in_store};
use crate::sha256::{FileDigest, HashingCopier};

/// A repository's files. Names are relative; missing sub-directories are made. No write makes the root of the store
/// itself: without it every call fails with [`StoreError::NotFound`], so that a missing mount is neither filled nor
/// mistaken for an empty repository.
///
/// Calls may run concurrently in threads, processes and hosts.
pub trait Store: Debug + Send + Sync {
    /// Creates files, never overwriting one. When it returns `Ok`, every file that is not a
    /// [`Created::Conflict`] is durable, data and names; one result per file, in order. A file is visible whole or not
    /// at all, but files of one call become visible one by one, in the order given.
    ///
    /// # Errors
    /// On failure any subset of the files may exist; repeating the call is safe. Staged content is used up either way.
    fn create_all(&self, files: Vec<NewFile<'_>>) -> Result<Vec<Created>, StoreError>;

    /// Creates one file from bytes in memory, as [`Store::create_all`].
    ///
    /// # Errors
    /// As [`Store::create_all`].
    fn create(&self, name: &FileName, bytes: &[u8]) -> Result<Created, StoreError> {
        let created = self.create_all(vec![NewFile::bytes(name.clone(), bytes)])?;
        Ok(created.into_iter().next().unwrap_or(Created::Conflict))
    }

    /// Replaces a file (or creates it): readers see the old bytes or the new ones, after a power cut too. Writers of
    /// the same name must hold a lock, the last one wins.
    ///
    /// # Errors
    /// On failure the name holds the old bytes or the new ones.
    fn replace(&self, name: &FileName, bytes: &[u8], options: ReplaceOptions) -> Result<(), StoreError>;

    /// Replaces files by copies of others, in the order given, each with bytes of its own (never a link): all copies
    /// are durable before the first name moves, and all names are durable when it returns. Returns the copied digests,
    /// in order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without a `from`, [`StoreError::Mismatch`] when it does not hold `expected`; in both
    /// cases no name was replaced. On other failures each name holds the old bytes or the new ones.
    fn copy_all(&self, copies: &[CopyFile]) -> Result<Vec<FileDigest>, StoreError>;

    /// The bytes of a file; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when it is longer than `max` bytes.
    fn read(&self, name: &FileName, max: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Opens a file to be read as a stream; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, name: &FileName) -> Result<Option<Box<dyn Read + Send>>, StoreError>;

    /// Length and SHA-256 of a file's bytes, read through once; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when it is longer than `max` bytes.
    fn digest(&self, name: &FileName, max: u64) -> Result<Option<FileDigest>, StoreError> {
        const DOING: &str = "hash";
        let Some(mut file) = self.open(name)? else {
            return Ok(None);
        };
        let copied = HashingCopier::new().copy(&mut file, max, |_| Ok(()));
        copied.map(Some).map_err(|error| copy_failed_in_store(error, DOING, name.as_str()))
    }

    /// Length and modification time; `None` when there is no such file.
    ///
    /// # Errors
    /// When it is unknown.
    fn stat(&self, name: &FileName) -> Result<Option<FileStat>, StoreError>;

    /// The names of the files directly in `dir` (`""` is the root), without its path, sorted; temporary files are
    /// not shown. A missing directory has none.
    ///
    /// # Errors
    /// When it is unknown, and [`StoreError::NotFound`] without the root of the store.
    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError>;

    /// The names of the sub-directories directly in `dir`, otherwise as [`Store::list`].
    ///
    /// # Errors
    /// As [`Store::list`].
    fn list_dirs(&self, dir: &str) -> Result<Vec<String>, StoreError>;

    /// Removes files; missing ones are skipped. The removal is durable when it returns. Directories stay.
    ///
    /// # Errors
    /// The first failure, after trying all others.
    fn remove(&self, names: &[FileName]) -> Result<(), StoreError>;

    /// Removes those of `names` whose file was last written (or found to be [`Created::Same`]) before `before` (seconds
    /// since the Unix epoch), and the directories this leaves empty, and returns the number of files. Files of
    /// other owners stay. A file that a concurrent [`Store::create_all`] returns as `Same` exists when that call
    /// returns and stays, in any order of events; until then it may be missing for a moment, and after a crash until
    /// [`Store::remove_stale`] restores it.
    ///
    /// # Errors
    /// The first failure, after trying all others.
    fn remove_older(&self, names: &[FileName], before: i64) -> Result<u64, StoreError>;

    /// Copies a stream once, hashing the bytes as they are written, into a temporary file the store owns, on the mount
    /// of `dir` (`""` is the root): name the directory below which the file will get its names. It is not durable and
    /// has no name before [`Store::create_all`]; dropping it removes it.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when the stream is longer than `max` bytes, [`StoreError::Source`] when reading the
    /// stream failed.
    fn stage(&self, dir: &str, reader: &mut dyn Read, max: u64) -> Result<StagedStream, StoreError>;

    /// Writes `pieces` into a temporary file as [`Store::stage`] does, after room for `head` bytes that are known only
    /// later: a long file is then on disk by the time it is signed.
    ///
    /// # Errors
    /// When it cannot be written.
    fn stage_tail(&self, dir: &str, head: usize, pieces: &[&[u8]]) -> Result<StagedTail, StoreError>;

    /// Removes temporary files directly in `dir` that were last written before `before` (seconds since the Unix
    /// epoch), which killed processes left, and returns their number. A file whose removal by [`Store::remove_older`]
    /// was interrupted gets its name back.
    ///
    /// # Errors
    /// When `dir` cannot be read.
    fn remove_stale(&self, dir: &str, before: i64) -> Result<u64, StoreError>;

    /// Waits up to `wait` for an exclusive lock on `name` (a separate file, made if missing); dropping the guard releases
    /// it. It is only an optimisation: some mounts do not lock between hosts, and any process may hold it for ever.
    ///
    /// # Errors
    /// If the store has no locks (network mounts may have none), or another holds it longer than `wait`.
    fn lock(&self, name: &FileName, wait: Duration) -> Result<Box<dyn LockGuard>, StoreError>;
}
