//! Reads whole files.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use super::lost_reply::retry_stale;
use super::path_error::context;
use crate::{Dir, Fs, ReadFile};

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// `FileTooLarge` when the file is longer than `max`; any error of opening or reading.
pub fn read_bounded(fs: &dyn Fs, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_opened(&|| fs.open(path), path, max)
}

/// As [`read_bounded`], from an open directory.
///
/// # Errors
/// As [`read_bounded`].
pub fn read_bounded_in(dir: &dyn Dir, name: &OsStr, max: u64) -> io::Result<Vec<u8>> {
    read_opened(&|| dir.open_file(name), Path::new(name), max)
}

fn read_opened(open: &dyn Fn() -> io::Result<Box<dyn ReadFile>>, shown: &Path, max: u64) -> io::Result<Vec<u8>> {
    // An NFS handle can go stale while a file is replaced: read the whole file again.
    retry_stale(|| {
        let file = open()?;
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
    .map_err(|error| context("read", shown, error))
}

fn too_large(max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {max} bytes"))
}
