//! Operations whose reply may be lost (NFS).
//!
//! An NFS client repeats a request whose reply was lost, and may get the reply of the *second* execution: a link that was
//! made answers `AlreadyExists`, a rename that was done answers `NotFound`. So after such an error these operations read
//! the names again, and the names decide.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::path_error::context;
use crate::{Dir, FileKind, Fs, Stat};

/// Repeats an operation at most twice when it fails with a stale NFS handle (`ESTALE`). Each run starts from the path.
///
/// # Errors
/// The last error.
pub fn retry_stale<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..2 {
        match operation() {
            Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => {}
            other => return other,
        }
    }
    operation()
}

/// `lstat`; `None` when no file has that name.
///
/// # Errors
/// Any failure except a missing name.
pub fn stat_if_there(fs: &dyn Fs, path: &Path) -> io::Result<Option<Stat>> {
    match retry_stale(|| fs.stat(path)) {
        Ok(stat) => Ok(Some(stat)),
        // A file in place of one of the directories above.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(context("stat", path, error)),
    }
}

/// Gives `from` a second name. `true`: `to` is now that file. `false`: another file has the name.
///
/// # Errors
/// Any error of the file system, when `to` is not that file.
pub fn link_new(fs: &dyn Fs, from: &Path, to: &Path) -> io::Result<bool> {
    let Err(error) = retry_stale(|| fs.link(from, to)) else {
        return Ok(true);
    };
    let linked = match (fs.stat(from), fs.stat(to)) {
        (Ok(ours), Ok(there)) => ours.id == there.id,
        _ => false,
    };
    match error.kind() {
        _ if linked => Ok(true),
        ErrorKind::AlreadyExists => Ok(false),
        _ => Err(context("link", to, error)),
    }
}

/// Renames a file over `to` and replaces the file there.
///
/// # Errors
/// Any error of the file system, when `to` is not that file.
pub fn rename_over(fs: &dyn Fs, from: &Path, to: &Path) -> io::Result<()> {
    let ours = retry_stale(|| fs.stat(from)).map_err(|error| context("rename", from, error))?.id;
    if let Err(error) = retry_stale(|| fs.rename(from, to))
        && !fs.stat(to).is_ok_and(|there| there.id == ours)
    {
        return Err(context("rename to", to, error));
    }
    // Renaming one name of a file over another name of the same file does nothing and reports success.
    match fs.stat(from) {
        Ok(left) if left.id == ours => remove_file_if_there(fs, from).map(drop),
        _ => Ok(()),
    }
}

/// Renames a directory (or file) to a name that must be free. `true`: `to` is now that directory. `false`:
/// another file has the name, and `from` still exists. (An empty directory is replaced.)
///
/// # Errors
/// `NotFound` when `from` does not exist, for instance because another process renamed it first; any other error of the file
/// system.
pub fn rename_dir(fs: &dyn Fs, from: &Path, to: &Path) -> io::Result<bool> {
    let ours = retry_stale(|| fs.stat(from)).map_err(|error| context("rename", from, error))?;
    if let Err(error) = retry_stale(|| fs.rename(from, to)) {
        let there = fs.stat(to);
        if there.as_ref().is_ok_and(|there| there.id == ours.id) {
            return Ok(true);
        }
        return match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Ok(false),
            ErrorKind::NotADirectory | ErrorKind::IsADirectory
                if there.as_ref().is_ok_and(|there| there.kind != ours.kind) =>
            {
                Ok(false)
            }
            _ => Err(context("rename to", to, error)),
        };
    }
    Ok(true)
}

/// Makes a directory. `true`: this call made it. `false`: it existed already (or this call's first try made it and its reply
/// was lost).
/// Not durable until the caller syncs the parent.
///
/// # Errors
/// `NotADirectory` when another kind of file has the name; any other error of the file system.
pub fn make_dir(fs: &dyn Fs, path: &Path, mode: u32) -> io::Result<bool> {
    let Err(error) = retry_stale(|| fs.create_dir(path, mode)) else {
        return Ok(true);
    };
    match fs.stat(path) {
        Ok(there) if there.kind == FileKind::Dir => Ok(false),
        Ok(_) => Err(context("create directory", path, ErrorKind::NotADirectory.into())),
        Err(_) => Err(context("create directory", path, error)),
    }
}

/// As [`make_dir`], in an open directory.
///
/// # Errors
/// `NotADirectory` when another kind of file has the name; any other error of the file system.
pub fn make_dir_in(above: &dyn Dir, name: &OsStr, mode: u32) -> io::Result<bool> {
    let Err(error) = retry_stale(|| above.create_dir(name, mode)) else {
        return Ok(true);
    };
    match above.stat_of(name) {
        Ok(there) if there.kind == FileKind::Dir => Ok(false),
        Ok(_) => Err(context("create directory", Path::new(name), ErrorKind::NotADirectory.into())),
        Err(_) => Err(context("create directory", Path::new(name), error)),
    }
}

/// Removes a name. `false`: it did not exist (or the first try removed it and its reply was
/// lost).
///
/// # Errors
/// Any other error of the file system.
pub fn remove_file_if_there(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    gone(retry_stale(|| fs.remove_file(path)), "remove", path)
}

/// Removes an empty directory. `false`: it did not exist (or the first try removed it and its reply was
/// lost).
///
/// # Errors
/// Any other error of the file system.
pub fn remove_dir_if_there(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    gone(retry_stale(|| fs.remove_dir(path)), "remove directory", path)
}

/// Whether a removal removed something; a missing name is no error.
pub(super) fn gone(result: io::Result<()>, doing: &'static str, path: &Path) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(context(doing, path, error)),
    }
}

/// Whether an NFS client gave `name` to a removed file that a process still holds open. Treat such a file as missing.
#[must_use]
pub fn is_nfs_remnant(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".nfs")
}
