//! The directory of a drop, held open while its files are read.

use std::ffi::OsStr;
use std::path::Path;

use durable_fs::{Dir, Fs};

use super::changed::{ChangedWhileRead, DropEntry};
use super::not_taken::{NotTaken, drop_read_failed};

/// Opens the drop that was listed as the directory `id` at `path`. Its producer can exchange the name with a link, or with
/// another directory, at any moment: then the drop is gone, and nothing of the other directory is read.
pub(super) fn open_drop(fs: &dyn Fs, path: &Path, id: (u64, u64)) -> Result<Box<dyn Dir>, NotTaken> {
    let failed = |error| drop_read_failed(|| fs.stat(path), DropEntry::Whole, error);
    let vanished = || ChangedWhileRead::Vanished { entry: DropEntry::Whole }.into();
    let dir = match fs.open_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Err(vanished()),
        other => other.map_err(failed)?,
    };
    if dir.stat().map_err(failed)?.id != id {
        return Err(vanished());
    }
    Ok(dir)
}

/// Opens the directory `name` of a drop, which messages show as `path`.
pub(super) fn open_below(dir: &dyn Dir, name: &OsStr, path: &str) -> Result<Box<dyn Dir>, NotTaken> {
    let failed = |error| drop_read_failed(|| dir.stat_of(name), DropEntry::Below(path.to_owned()), error);
    dir.open_dir(name).map_err(failed)
}
