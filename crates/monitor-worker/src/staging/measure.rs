//! How much a directory holds.

use std::io;
use std::path::Path;

use durable_fs::{Dir, FileKind, Fs};
use fleet::batch::MAX_DROP_DEPTH;

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

/// How much is below `dir`; links and special files do not count. Stops counting above `max_files`, and does not enter
/// directories that are nested more deeply than those of a drop may be.
///
/// # Errors
/// The error from the file system.
pub fn measure(fs: &dyn Fs, dir: &Path, max_files: u64) -> io::Result<DirSize> {
    let mut size = DirSize::default();
    add_size(fs.open_dir(dir)?.as_ref(), 0, max_files, &mut size)?;
    Ok(size)
}

fn add_size(dir: &dyn Dir, depth: usize, max_files: u64, size: &mut DirSize) -> io::Result<()> {
    for entry in dir.iter_entries()? {
        let entry = entry?;
        match entry.kind {
            FileKind::Dir => {
                size.dirs += 1;
                if depth < MAX_DROP_DEPTH {
                    add_size(dir.open_dir(&entry.name)?.as_ref(), depth + 1, max_files, size)?;
                }
            }
            FileKind::File => {
                size.files += 1;
                size.bytes = size.bytes.saturating_add(dir.stat_of(&entry.name)?.len);
            }
            FileKind::Symlink | FileKind::Other => {}
        }
        if size.files > max_files || size.dirs > max_files {
            break;
        }
    }
    Ok(())
}
