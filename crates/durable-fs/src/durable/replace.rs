//! Replaces private files.

use std::io;
use std::path::Path;

use super::path_error::parent;
use super::sync::sync_dir;
use super::temp::TempFile;
use crate::Fs;

/// Replaces `path` atomically and durably: write a temporary file, sync it, rename it over `path`, sync the directory. After
/// a crash `path` holds the old bytes or the new ones.
///
/// Only for private files of one process (state, receipts): it overwrites the file of a concurrent writer.
///
/// # Errors
/// Any error of the file system.
pub fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temp = TempFile::new(fs, parent(path), mode)?;
    temp.write_bytes(bytes)?;
    temp.sync()?;
    temp.persist_over(path)?;
    sync_dir(fs, parent(path))
}
