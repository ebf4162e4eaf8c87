//! Sequences built on [`Fs`] that end durable.
//!
//! A new file is written under a temporary name in its final directory, synced, given its final name by `link` (which
//! never overwrites, as `rename` would), and only then is the directory synced. Errors name the paths they are about
//! and keep the [`io::ErrorKind`] of what the operating system said.

mod again;
mod batch;
mod temp;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use again::{
    link_new, make_dir, remove_dir_if_there, remove_file_if_there, rename_dir, rename_over, retry_stale, stat_if_there,
};
pub use batch::{Outcome, Part, Source, create_many, create_parts, sync_dirs, sync_mounts};
pub use temp::{TEMP_PREFIX, TempFile, is_temp_name, temp_path};

use crate::{FileKind, Fs};

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// `FileTooLarge` when the file is longer than `max`; whatever opening or reading it said.
pub fn read_bounded(fs: &dyn Fs, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // An NFS handle can go stale in the middle of a file that was replaced: read all of it again.
    retry_stale(|| {
        let file = fs.open(path)?;
        let len = file.stat()?.len;
        if len > max {
            return Err(too_large(max));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(too_large(max));
        }
        Ok(bytes)
    })
    .map_err(|error| context("read", path, error))
}

fn too_large(max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {max} bytes"))
}

/// Writes `bytes` to a temporary file in `path`'s directory, syncs it, `link`s it to `path`, removes the temporary
/// name and syncs the directory. Ok(true): created now. Ok(false): the name already held exactly these bytes.
///
/// # Errors
/// `AlreadyExists` when the name holds other bytes. Safe to repeat after any crash.
pub fn create(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let names = [path.to_path_buf()];
    let outcomes = create_parts(fs, &mut [Part { names: &names, source: Source::Bytes(bytes) }], mode)?;
    match outcomes.first() {
        Some(Outcome::Created) => Ok(true),
        Some(Outcome::SameBytes) => Ok(false),
        _ => {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "the name holds other bytes");
            Err(context("create", path, error))
        }
    }
}

/// Replaces `path` atomically and durably: temporary file, sync, rename over it, sync the directory. For private
/// files of one process only (state, receipts): a concurrent writer's file would be overwritten.
///
/// # Errors
/// Whatever the file system said.
pub fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temp = TempFile::new(fs, parent(path), mode)?;
    temp.write_bytes(bytes)?;
    temp.sync()?;
    temp.persist_over(path)?;
    sync_dir(fs, parent(path))
}

/// Creates `path` and its missing parents, syncing the parent of each one made, and that of the first one found:
/// whoever made it may have died before syncing it. An existing directory, or a link to one, is success.
///
/// # Errors
/// `NotADirectory` when something else has the name; whatever the file system said.
pub fn create_dir_all(fs: &dyn Fs, path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let Some(there) = stat_if_there(fs, path)? else {
        let above = parent(path);
        create_dir_all(fs, above, mode)?;
        make_dir(fs, path, mode)?;
        return sync_dir(fs, above);
    };
    // `dir/.` is what a link leads to.
    let leads_to_dir = || stat_if_there(fs, &path.join(".")).map(|stat| stat.is_some_and(|s| s.kind == FileKind::Dir));
    match there.kind {
        FileKind::Dir => sync_parent_of_existing(fs, path),
        FileKind::Symlink if leads_to_dir()? => sync_parent_of_existing(fs, path),
        _ => Err(context("create directory", path, io::ErrorKind::NotADirectory.into())),
    }
}

fn sync_parent_of_existing(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.sync_dir(parent(path)) {
        // A directory prepared by someone else, such as a mount point: its parent is not ours to sync.
        Err(error) if is_refusal(error.kind()) => Ok(()),
        other => other.map_err(|error| context("sync", parent(path), error)),
    }
}

fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidInput)
}

/// Removes a directory and all below it, without following links; what is already gone is success. Not durable until
/// the caller syncs the parent.
///
/// # Errors
/// The first failure, after trying everything else.
pub fn remove_tree(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    let entries = match retry_stale(|| fs.read_dir(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| context("read directory", path, error))?,
    };
    let mut result = Ok(());
    for entry in entries {
        let below = path.join(&entry.name);
        let removed = match entry.kind {
            FileKind::Dir => remove_tree(fs, &below),
            _ => remove_file_if_there(fs, &below).map(drop),
        };
        result = result.and(removed);
    }
    result.and_then(|()| remove_dir_if_there(fs, path).map(drop))
}

/// `fsync` of a directory, with its path in the error and a stale NFS handle looked up again.
///
/// # Errors
/// Whatever the file system said.
pub fn sync_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    retry_stale(|| fs.sync_dir(dir)).map_err(|error| context("sync directory", dir, error))
}

/// `syncfs` of the mount that holds `dir`, with its path in the error.
///
/// # Errors
/// Whatever the file system said.
pub fn sync_all(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    retry_stale(|| fs.sync_all(dir)).map_err(|error| context("sync the file system of", dir, error))
}

/// Whether `name` is one an NFS client gives a removed file that someone still holds open: not there for anyone.
#[must_use]
pub fn is_nfs_remnant(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".nfs")
}

/// The directory of `path`; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    }
}

/// Adds what was being done, and to which path, to an error; its kind stays.
fn context(doing: &'static str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), AtPath { doing, path: path.to_path_buf(), source: error })
}

/// An I/O error with its path.
#[derive(Debug)]
struct AtPath {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for AtPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for AtPath {
    // The message holds the source's already.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.source)
    }
}
