//! Makes and removes directories with their contents.

use std::io;
use std::path::Path;

use super::lost_reply::{make_dir, remove_dir_if_there, remove_file_if_there, retry_stale, stat_if_there};
use super::path_error::{context, parent};
use super::sync::sync_dir;
use crate::{FileKind, Fs};

/// Creates `path` and its missing parents. It syncs the parent of each directory made, and of the first existing one: its
/// maker may have died before the sync. An existing directory, or a link to one, is success.
///
/// # Errors
/// `NotADirectory` when another kind of file has the name; any error of the file system.
pub fn create_dir_all(fs: &dyn Fs, path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let Some(existing) = stat_if_there(fs, path)? else {
        let above = parent(path);
        create_dir_all(fs, above, mode)?;
        make_dir(fs, path, mode)?;
        return sync_dir(fs, above);
    };
    // `dir/.` is the directory that a link leads to.
    let leads_to_dir = || stat_if_there(fs, &path.join(".")).map(|stat| stat.is_some_and(|s| s.kind == FileKind::Dir));
    match existing.kind {
        FileKind::Dir => sync_parent_of_existing(fs, path),
        FileKind::Symlink if leads_to_dir()? => sync_parent_of_existing(fs, path),
        _ => Err(context("create directory", path, io::ErrorKind::NotADirectory.into())),
    }
}

fn sync_parent_of_existing(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.sync_dir(parent(path)) {
        // Another user prepared the directory, such as a mount point: this process may not sync its parent.
        Err(error) if is_refusal(error.kind()) => Ok(()),
        other => other.map_err(|error| context("sync", parent(path), error)),
    }
}

fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidInput)
}

/// Removes a directory and everything below it, without following links. Missing files are success. Not durable until the
/// caller syncs the parent.
///
/// # Errors
/// The first failure, after trying all others.
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
