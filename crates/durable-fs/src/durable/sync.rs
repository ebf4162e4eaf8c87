//! Makes names and data durable.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::lost_reply::retry_stale;
use super::path_error::context;
use crate::Fs;

/// Up to this many files (or directories) are synced one by one. For more, one `syncfs` is cheaper.
pub(super) const MAX_SINGLE_SYNCS: usize = 4;

/// `fsync` of a directory. The error holds the path; a stale NFS handle is looked up again.
///
/// # Errors
/// Any error of the file system.
pub fn sync_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    retry_stale(|| fs.sync_dir(dir)).map_err(|error| context("sync directory", dir, error))
}

/// `syncfs` of the mount that holds `dir`. The error holds the path.
///
/// # Errors
/// Any error of the file system.
pub fn sync_all(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    retry_stale(|| fs.sync_all(dir)).map_err(|error| context("sync the file system of", dir, error))
}

/// Makes the names in `dirs` durable: directory by directory if they are few, otherwise by [`sync_mounts`].
///
/// # Errors
/// Any error of the file system.
pub fn sync_dirs(fs: &dyn Fs, dirs: &BTreeSet<&Path>) -> io::Result<()> {
    if dirs.len() <= MAX_SINGLE_SYNCS {
        dirs.iter().try_for_each(|dir| sync_dir(fs, dir))
    } else {
        sync_mounts(fs, dirs)
    }
}

/// One `syncfs` for each mount that holds one of `dirs`.
///
/// # Errors
/// Any error of the file system.
pub fn sync_mounts(fs: &dyn Fs, dirs: &BTreeSet<&Path>) -> io::Result<()> {
    let mut mounts = BTreeSet::new();
    for dir in dirs {
        // `dir/.` is the directory even where the last component is a link.
        let stat = fs.stat(&dir.join(".")).map_err(|error| context("stat", dir, error))?;
        if mounts.insert(stat.id.0) {
            sync_all(fs, dir)?;
        }
    }
    Ok(())
}
