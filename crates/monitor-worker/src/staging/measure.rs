//! How much a directory holds, and which paths.

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
    for entry in dir.entries()? {
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

/// Paths of the regular files below `dir`, relative to it, at most about `max_files`; names that are not UTF-8, and files that
/// are nested more deeply than those of a drop may be, are left out.
///
/// # Errors
/// The error from the file system.
pub fn paths(fs: &dyn Fs, dir: &Path, max_files: u64) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    add_paths(fs.open_dir(dir)?.as_ref(), "", 0, max_files, &mut found)?;
    Ok(found)
}

fn add_paths(dir: &dyn Dir, prefix: &str, depth: usize, max_files: u64, found: &mut Vec<String>) -> io::Result<()> {
    for entry in dir.entries()? {
        let Some(name) = entry.name.to_str() else { continue };
        let path = format!("{prefix}{name}");
        match entry.kind {
            FileKind::Dir if depth < MAX_DROP_DEPTH => {
                add_paths(dir.open_dir(&entry.name)?.as_ref(), &format!("{path}/"), depth + 1, max_files, found)?;
            }
            FileKind::File => found.push(path),
            FileKind::Dir | FileKind::Symlink | FileKind::Other => {}
        }
        if found.len() as u64 > max_files {
            break;
        }
    }
    Ok(())
}
