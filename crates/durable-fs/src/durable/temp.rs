//! Temporary files.

use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lost_reply::{link_new, rename_over};
use super::path_error::context;
use super::write_batch::WriteBatch;
use crate::{Fs, WriteFile};

/// The prefix of the names of temporary files. Old files of such names belong to processes that died.
pub const TEMP_PREFIX: &str = ".tmp-";

/// Whether `name` is the name of a temporary file.
#[must_use]
pub fn is_temp_name(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes())
}

/// A name in `dir` that no other process on any host uses, and no other call in this process.
#[must_use]
pub fn temp_path(dir: &Path) -> PathBuf {
    // Process ids repeat between hosts (and containers) that share a mount.
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("{TEMP_PREFIX}{}-{:016x}-{count}", std::process::id(), *PROCESS))
}

/// A new file under a temporary name. Dropped without [`TempFile::persist_new`] or [`TempFile::persist_over`], it is removed.
/// Write through [`Write`], then call [`TempFile::sync`], persist the file, and sync the directory.
pub struct TempFile<'a> {
    fs: &'a dyn Fs,
    path: PathBuf,
    file: Option<Box<dyn WriteFile>>,
    named: bool,
}

impl<'a> TempFile<'a> {
    /// Creates the file in `dir`. Use the directory of the final name: a name cannot move between mounts.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn new(fs: &'a dyn Fs, dir: &Path, mode: u32) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let path = temp_path(dir);
            match fs.create_new(&path, mode) {
                Ok(file) => {
                    return Ok(Self { fs, path, file: Some(file), named: true });
                }
                // Only this call uses the name, so its first try made the file and the reply was lost (NFS).
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 3 => {
                    let _ = fs.remove_file(&path);
                }
                Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle && tries < 3 => {}
                Err(error) => return Err(context("create a temporary file in", dir, error)),
            }
            tries += 1;
        }
    }

    /// The temporary name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).map_err(|error| context("write", &self.path, error))
    }

    /// Sets the modification time (whole seconds since the Unix epoch). Call it before [`TempFile::sync`], which makes it
    /// durable.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn set_mtime(&mut self, seconds: i64) -> io::Result<()> {
        self.fs.set_mtime(&self.path, seconds).map_err(|error| context("set the time of", &self.path, error))
    }

    /// `fsync`: the bytes written so far are durable when it returns.
    ///
    /// # Errors
    /// Any error of the file system. A failed sync cannot be repeated: the file must be written again.
    pub fn sync(&mut self) -> io::Result<()> {
        self.open_file()?.sync().map_err(|error| context("sync", &self.path, error))
    }

    /// Closes the descriptor and keeps the file, which was synced or which the caller's batch syncs.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Closes the descriptor and keeps the file, as one of those that `batch`, which began before it was made, syncs together.
    ///
    /// # Errors
    /// Any error of the file system. The file must be discarded.
    pub fn close_in(&mut self, batch: &WriteBatch) -> io::Result<()> {
        let closed = self.file.take().map_or(Ok(()), |file| batch.close(file));
        closed.map_err(|error| context("sync", &self.path, error))
    }

    /// Gives the file its final name. `false` when another file has that name. The temporary name is removed in both cases.
    /// Not durable until the directory is synced.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn persist_new(self, path: &Path) -> io::Result<bool> {
        link_new(self.fs, &self.path, path)
    }

    /// Gives the file its final name and replaces the file there. Not durable until the directory is synced.
    ///
    /// # Errors
    /// Any error of the file system; the temporary name is then removed.
    pub fn persist_over(mut self, path: &Path) -> io::Result<()> {
        rename_over(self.fs, &self.path, path)?;
        self.named = false;
        Ok(())
    }

    /// Leaves the file under its temporary name, which the caller removes. Returns the name, and the descriptor unless it was
    /// closed.
    #[must_use]
    pub fn keep(mut self) -> (PathBuf, Option<Box<dyn WriteFile>>) {
        self.named = false;
        (std::mem::take(&mut self.path), self.file.take())
    }

    fn open_file(&mut self) -> io::Result<&mut Box<dyn WriteFile>> {
        self.file.as_mut().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the temporary file is closed"))
    }
}

impl Write for TempFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open_file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open_file()?.flush()
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if self.named {
            self.file = None;
            // A remaining file only wastes space.
            let _ = self.fs.remove_file(&self.path);
        }
    }
}

impl fmt::Debug for TempFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempFile").field("path", &self.path).finish_non_exhaustive()
    }
}
