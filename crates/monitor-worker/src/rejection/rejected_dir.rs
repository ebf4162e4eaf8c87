//! `tuf_rejected_X` and `tuf_late_X`: the last names of directories that their producers have to look at.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use durable_fs::{Fs, durable};

use crate::drop_dir::{DropName, LATE, REJECTED};

/// How many such directories of one drop name may exist at a time.
const MAX_OF_ONE_NAME: u32 = 10_000;

/// Renames the directory `from` to `tuf_rejected_X`, or to `tuf_rejected_X.2`, `.3` and so on if that name is taken.
/// `None`: the directory is gone, because another monitor finished it.
///
/// # Errors
/// The error from the file system.
pub fn rename_to_rejected(fs: &dyn Fs, post: &Path, from: &Path, name: &DropName) -> io::Result<Option<OsString>> {
    rename_to_free(fs, post, from, REJECTED, name)
}

/// Renames the directory `from` of a published drop to `tuf_late_X`, or to `tuf_late_X.2`, `.3` and so on if that name is taken.
/// `None`: the directory is gone.
///
/// # Errors
/// The error from the file system.
pub fn rename_to_late(fs: &dyn Fs, post: &Path, from: &Path, name: &DropName) -> io::Result<Option<OsString>> {
    rename_to_free(fs, post, from, LATE, name)
}

fn rename_to_free(
    fs: &dyn Fs,
    post: &Path,
    from: &Path,
    prefix: &str,
    name: &DropName,
) -> io::Result<Option<OsString>> {
    for number in 1..=MAX_OF_ONE_NAME {
        let to = if number == 1 { format!("{prefix}{name}") } else { format!("{prefix}{name}.{number}") };
        // A rename would silently replace an empty directory, so check first; the rename still decides.
        if durable::stat_if_there(fs, &post.join(&to))?.is_some() {
            continue;
        }
        match durable::rename_dir(fs, from, &post.join(&to)) {
            Ok(true) => return Ok(Some(to.into())),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("too many directories named {prefix}{name}")))
}
