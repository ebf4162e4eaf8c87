//! Compares a file with expected bytes.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::{FileKind, Fs};

const COMPARE_BUFFER_BYTES: usize = 64 * 1024;

/// Whether `path` is a regular file with exactly the `len` bytes of `expected`.
pub(super) fn holds(fs: &dyn Fs, path: &Path, len: u64, expected: &mut dyn Read) -> io::Result<bool> {
    let stat = fs.stat(path)?;
    if stat.kind != FileKind::File || stat.len != len {
        return Ok(false);
    }
    let mut theirs = fs.open(path)?;
    let (mut ours_buffer, mut theirs_buffer) = (vec![0; COMPARE_BUFFER_BYTES], vec![0; COMPARE_BUFFER_BYTES]);
    loop {
        let ours = fill(expected, &mut ours_buffer)?;
        let held = fill(&mut theirs, &mut theirs_buffer)?;
        if ours_buffer.get(..ours) != theirs_buffer.get(..held) {
            return Ok(false);
        }
        if ours == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
