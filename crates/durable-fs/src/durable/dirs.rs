//! Makes and removes directories with their contents.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::lost_reply::{gone, make_dir, remove_dir_if_there, retry_stale, stat_if_there};
use super::path_error::{context, parent};
use super::sync::sync_dir;
use crate::{Dir, DirEntry, FileKind, Fs};

/// Creates `path` and its missing parents. It syncs the parent of each directory made, and of the first existing one: its
/// maker may have died before the sync. An existing directory, or a link to one, is success.
///
/// # Errors
/// `NotADirectory` when another kind of file has the name; any error of the file system.
pub fn create_dir_all(fs: &dyn Fs, path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let Some(existing) = stat_if_there(fs, path)? else {
        let above = parent(path);
        create_dir_all(fs, above, mode)?;
        make_dir(fs, path, mode)?;
        return sync_dir(fs, above);
    };
    // `dir/.` is the directory that a link leads to.
    let leads_to_dir = || stat_if_there(fs, &path.join(".")).map(|stat| stat.is_some_and(|s| s.kind == FileKind::Dir));
    match existing.kind {
        FileKind::Dir => sync_parent_of_existing(fs, path),
        FileKind::Symlink if leads_to_dir()? => sync_parent_of_existing(fs, path),
        _ => Err(context("create directory", path, io::ErrorKind::NotADirectory.into())),
    }
}

fn sync_parent_of_existing(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.sync_dir(parent(path)) {
        // Another user prepared the directory, such as a mount point: this process may not sync its parent.
        Err(error) if is_refusal(error.kind()) => Ok(()),
        other => other.map_err(|error| context("sync", parent(path), error)),
    }
}

fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidInput)
}

/// The most directories below one another that [`remove_tree`] enters; each of them takes a descriptor, and one with many names
/// two.
const MAX_OPEN_DIRS: usize = 256;
/// How many names are read before the first of them is removed: as many as take little memory, whatever a directory holds.
const CHUNK: usize = 1024;
/// The most names that one call of [`remove_tree`] removes: another user may make new ones as fast as they are removed.
const MAX_REMOVED: u64 = 1 << 26;

/// Removes a directory and everything below it. It holds the directory open and follows no link, so nothing outside is
/// removed even while another user exchanges names; a link in place of the directory is an error. Missing files are success.
/// Memory does not grow with the number of names. Not durable until the caller syncs the parent.
///
/// # Errors
/// The first failure, after trying all others. `NotADirectory` when `path` is something else. Of directories
/// nested more than 256 levels deep, the lower ones stay; of more than 67,108,864 names, the further ones do.
pub fn remove_tree(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    let dir = match retry_stale(|| fs.open_dir(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| context("open directory", path, error))?,
    };
    Removal::new().remove_below(dir.as_ref(), path, MAX_OPEN_DIRS)?;
    drop(dir);
    remove_dir_if_there(fs, path).map(drop)
}

/// As [`remove_tree`], for the directory `name` in an open directory, which messages show as `above_path`.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_tree_in(above: &dyn Dir, name: &OsStr, above_path: &Path) -> io::Result<()> {
    Removal::new().remove_dir_below(above, name, above_path, MAX_OPEN_DIRS)
}

/// A removal of a tree.
struct Removal {
    /// How many more names may be removed.
    names_left: u64,
}

impl Removal {
    fn new() -> Self {
        Self { names_left: MAX_REMOVED }
    }

    /// Removes everything in `dir`, which messages show as `path`.
    fn remove_below(&mut self, dir: &dyn Dir, path: &Path, levels: usize) -> io::Result<()> {
        // A file system may leave out names of a list while others are removed. If one chunk was not all, another list shows
        // whether any is left.
        while self.remove_list(dir, path, levels)? {}
        Ok(())
    }

    /// Removes the names of one list of `dir`, a chunk at a time; returns whether there was more than one chunk.
    fn remove_list(&mut self, dir: &dyn Dir, path: &Path, levels: usize) -> io::Result<bool> {
        let failed = |error| context("read directory", path, error);
        let mut list = Some(retry_stale(|| dir.iter_entries()).map_err(failed)?);
        let mut result = Ok(());
        let mut chunks = 0_u64;
        while let Some(open) = &mut list {
            let chunk = open.take(CHUNK).collect::<io::Result<Vec<DirEntry>>>().map_err(failed)?;
            chunks += u64::from(!chunk.is_empty());
            if chunk.len() < CHUNK {
                // Its descriptor is given back before directories below are entered.
                list = None;
            }
            for DirEntry { name, kind } in chunk {
                let Some(left) = self.names_left.checked_sub(1) else {
                    let many = io::Error::other("it holds too many names to be removed in one go");
                    return Err(context("remove directory", path, many));
                };
                self.names_left = left;
                let removed = match kind {
                    FileKind::Dir => self.remove_dir_below(dir, &name, path, levels),
                    _ => gone(retry_stale(|| dir.remove_file(&name)), "remove", &path.join(&name)).map(drop),
                };
                result = result.and(removed);
            }
        }
        result.map(|()| chunks > 1)
    }

    fn remove_dir_below(&mut self, above: &dyn Dir, name: &OsStr, above_path: &Path, levels: usize) -> io::Result<()> {
        let path = above_path.join(name);
        let Some(levels) = levels.checked_sub(1) else {
            let deep = io::Error::other("nested too deeply to be removed");
            return Err(context("remove directory", &path, deep));
        };
        let dir = match retry_stale(|| above.open_dir(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| context("open directory", &path, error))?,
        };
        self.remove_below(dir.as_ref(), &path, levels)?;
        drop(dir);
        gone(retry_stale(|| above.remove_dir(name)), "remove directory", &path).map(drop)
    }
}
