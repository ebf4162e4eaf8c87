//! A store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use durable_fs::LockGuard;

use super::contract::Store;
use super::error::StoreError;
use super::file::{CopyFile, Created, FileContent, FileStat, NewFile, ReplaceOptions};
use super::name::FileName;
use super::staged::{StagedStream, StagedTail, copy_failed_from_source};
use super::sync::lock;
use crate::sha256::{FileDigest, HashingCopier, Sha256};

type Bytes = Arc<[u8]>;

/// A [`Store`] in memory, for tests and one-process use. Clones share their files. Its clock stands still until
/// [`MemoryStore::set_time`].
#[derive(Clone, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<BTreeMap<FileName, (Bytes, i64)>>>,
    locks: Arc<MemoryLocks>,
    time: Arc<AtomicI64>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the modification time of files written from now on (seconds since the Unix epoch; 0 at first).
    pub fn set_time(&self, seconds: i64) {
        self.time.store(seconds, Ordering::Relaxed);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<FileName, (Bytes, i64)>> {
        lock(&self.files)
    }

    fn get(&self, name: &FileName) -> Option<Bytes> {
        self.files().get(name).map(|(bytes, _)| Arc::clone(bytes))
    }

    fn put(
        &self,
        files: &mut BTreeMap<FileName, (Bytes, i64)>,
        name: &FileName,
        bytes: Bytes,
        options: ReplaceOptions,
    ) {
        let previous = files.get(name).map(|(_, mtime)| *mtime);
        let above = previous.max(options.mtime_after).map_or(i64::MIN, |at| at.saturating_add(1));
        files.insert(name.clone(), (bytes, self.time.load(Ordering::Relaxed).max(above)));
    }

    /// The names below `dir`, as paths relative to it.
    fn below(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        Ok(self.files().keys().filter_map(|name| name.as_str().strip_prefix(&prefix)).map(str::to_owned).collect())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("files", &self.files().len()).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn create_all(&self, new: Vec<NewFile<'_>>) -> Result<Vec<Created>, StoreError> {
        let mut files = self.files();
        let mut results = Vec::with_capacity(new.len());
        for file in new {
            let bytes: Bytes = match file.content {
                FileContent::Bytes(bytes) => bytes.as_ref().into(),
                FileContent::Staged(staged) => {
                    let found = staged.held.downcast_ref::<Bytes>().map(Arc::clone);
                    found.ok_or(StoreError::Mismatch { doing: "create", name: names_of(&file.names) })?
                }
                FileContent::HeadAndTail(head, behind) => match behind.held.downcast_ref::<Bytes>() {
                    Some(rest) if head.len() == behind.head => [&head[..], &rest[..]].concat().into(),
                    _ => return Err(StoreError::Mismatch { doing: "create", name: names_of(&file.names) }),
                },
            };
            let mut result = Created::Same;
            for name in file.names {
                let taken = files.get(&name).map(|(held, _)| *held == bytes);
                match taken {
                    Some(true) => {
                        let now = self.time.load(Ordering::Relaxed);
                        if let Some((_, mtime)) = files.get_mut(&name) {
                            *mtime = now.max(*mtime);
                        }
                    }
                    Some(false) => result = Created::Conflict,
                    None => {
                        self.put(&mut files, &name, Arc::clone(&bytes), ReplaceOptions::default());
                        if result == Created::Same {
                            result = Created::New;
                        }
                    }
                }
            }
            results.push(result);
        }
        Ok(results)
    }

    fn replace(&self, name: &FileName, bytes: &[u8], options: ReplaceOptions) -> Result<(), StoreError> {
        self.put(&mut self.files(), name, bytes.into(), options);
        Ok(())
    }

    fn copy_all(&self, copies: &[CopyFile]) -> Result<Vec<FileDigest>, StoreError> {
        const DOING: &str = "copy";
        let mut taken = Vec::with_capacity(copies.len());
        for copy in copies {
            let name = copy.from.as_str();
            let not_found = || StoreError::NotFound { doing: DOING, name: name.to_owned() };
            let bytes = self.get(&copy.from).ok_or_else(not_found)?;
            let digest = FileDigest { length: bytes.len() as u64, sha256: Sha256::of(&bytes) };
            if copy.expected.is_some_and(|expected| expected != digest) {
                return Err(StoreError::Mismatch { doing: DOING, name: name.to_owned() });
            }
            taken.push((bytes, digest));
        }
        let mut files = self.files();
        for (copy, (bytes, _)) in copies.iter().zip(&taken) {
            self.put(&mut files, &copy.to, Arc::clone(bytes), copy.options);
        }
        Ok(taken.into_iter().map(|(_, digest)| digest).collect())
    }

    fn read(&self, name: &FileName, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(name) {
            Some(bytes) if bytes.len() as u64 > max => {
                Err(StoreError::TooLarge { doing: "read", name: name.as_str().to_owned(), max })
            }
            found => Ok(found.map(|bytes| bytes.to_vec())),
        }
    }

    fn open(&self, name: &FileName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        Ok(self.get(name).map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn stat(&self, name: &FileName) -> Result<Option<FileStat>, StoreError> {
        Ok(self.files().get(name).map(|(bytes, mtime)| FileStat { len: bytes.len() as u64, mtime: *mtime }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.below(dir)?.into_iter().filter(|name| !name.contains('/')).collect())
    }

    fn list_dirs(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let mut dirs: Vec<String> =
            self.below(dir)?.iter().filter_map(|name| name.split_once('/')).map(|(dir, _)| dir.to_owned()).collect();
        dirs.sort();
        dirs.dedup();
        Ok(dirs)
    }

    fn remove(&self, names: &[FileName]) -> Result<(), StoreError> {
        let mut files = self.files();
        for name in names {
            files.remove(name);
        }
        Ok(())
    }

    fn remove_older(&self, names: &[FileName], before: i64) -> Result<u64, StoreError> {
        let mut files = self.files();
        let mut removed = 0;
        for name in names {
            if files.get(name).is_some_and(|(_, mtime)| *mtime < before) {
                files.remove(name);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn stage(&self, dir: &str, reader: &mut dyn Read, max: u64) -> Result<StagedStream, StoreError> {
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let mut bytes = Vec::new();
        let digest = HashingCopier::new()
            .copy(reader, max, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .map_err(|error| copy_failed_from_source(error, "stage", dir))?;
        let bytes: Bytes = bytes.into();
        Ok(StagedStream::new(digest, Box::new(bytes)))
    }

    fn stage_tail(&self, dir: &str, head: usize, pieces: &[&[u8]]) -> Result<StagedTail, StoreError> {
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let rest: Bytes = pieces.concat().into();
        Ok(StagedTail { head, held: Box::new(rest) })
    }

    fn remove_stale(&self, dir: &str, _before: i64) -> Result<u64, StoreError> {
        // Staged streams vanish when they are dropped, and with the process.
        self.below(dir).map(|_| 0)
    }

    fn lock(&self, name: &FileName, wait: Duration) -> Result<Box<dyn LockGuard>, StoreError> {
        let started = Instant::now();
        let mut held = lock(&self.locks.held);
        while !held.insert(name.clone()) {
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                let source = io::Error::new(io::ErrorKind::TimedOut, "another holds the lock");
                return Err(StoreError::from_io("lock", name.as_str(), source));
            }
            held = self.locks.released.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Box::new(MemoryLockGuard { locks: Arc::clone(&self.locks), name: name.clone() }))
    }
}

fn names_of(names: &[FileName]) -> String {
    names.first().map(|name| name.as_str().to_owned()).unwrap_or_default()
}

#[derive(Default)]
struct MemoryLocks {
    held: Mutex<BTreeSet<FileName>>,
    released: Condvar,
}

struct MemoryLockGuard {
    locks: Arc<MemoryLocks>,
    name: FileName,
}

impl LockGuard for MemoryLockGuard {}

impl Drop for MemoryLockGuard {
    fn drop(&mut self) {
        lock(&self.locks.held).remove(&self.name);
        self.locks.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_memory_passes_the_conformance_suite() {
        super::super::conformance::check(&|| Box::new(MemoryStore::new()));
    }
}
