//! How much a directory holds.

use std::io;
use std::path::Path;

use durable_fs::{FileKind, Fs};

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirSize {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Directories below it.
    pub dirs: u64,
}

/// How much is below `dir`; links and special files do not count. Stops counting above `max_files`.
///
/// # Errors
/// The error from the file system.
pub fn measure(fs: &dyn Fs, dir: &Path, max_files: u64) -> io::Result<DirSize> {
    let mut size = DirSize::default();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs.read_dir(&dir)? {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::Dir => {
                    size.dirs += 1;
                    todo.push(path);
                }
                FileKind::File => {
                    size.files += 1;
                    size.bytes = size.bytes.saturating_add(fs.stat(&path)?.len);
                }
                FileKind::Symlink | FileKind::Other => {}
            }
            if size.files > max_files || size.dirs > max_files {
                return Ok(size);
            }
        }
    }
    Ok(size)
}
