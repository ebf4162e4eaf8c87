//! Makes names and data durable.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::lost_reply::retry_stale;
use super::path_error::context;
use super::write_batch::WriteBatch;
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

/// Makes the names in `dirs` durable: directory by directory if they are few, otherwise by one `syncfs` for each mount.
///
/// It reports no errors of files, see [`WriteBatch`]: their bytes are durable before they get names.
///
/// # Errors
/// Any error of the file system.
pub fn sync_dirs(fs: &dyn Fs, dirs: &BTreeSet<&Path>) -> io::Result<()> {
    if dirs.len() <= MAX_SINGLE_SYNCS {
        dirs.iter().try_for_each(|dir| sync_dir(fs, dir))
    } else {
        WriteBatch::begin(fs, dirs.iter().copied())?.sync()
    }
}
