//! What a drop holds, found in one walk: its size, and its paths as numbers.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use durable_fs::{Dir, FileKind, Fs};
use fleet::batch::MAX_DROP_DEPTH;

use super::measure::DirSize;

/// Numbers that stand for paths: equal for equal paths, and (but by a chance of one in 2^64) different for different ones. A
/// producer cannot choose them, and they take a fraction of the memory of the paths.
#[derive(Clone, Debug, Default)]
pub struct PathNumbers(RandomState);

impl PathNumbers {
    /// The number of `path`.
    #[must_use]
    pub fn of(&self, path: &str) -> u64 {
        self.0.hash_one(path)
    }
}

/// What a walk through a drop found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropSurvey {
    /// How much it holds.
    pub size: DirSize,
    /// The numbers of its paths; names that are not UTF-8 are left out.
    pub paths: Vec<u64>,
}

/// Walks through the drop at `dir`; links and special files do not count, nor do files that are nested more deeply than those of
/// a drop may be. Stops above `max_files` files or directories.
///
/// # Errors
/// The error from the file system.
pub fn survey(fs: &dyn Fs, dir: &Path, max_files: u64, numbers: &PathNumbers) -> io::Result<DropSurvey> {
    let mut found = DropSurvey::default();
    walk(fs.open_dir(dir)?.as_ref(), Path::new(""), 0, &mut |entry| {
        match entry {
            Found::Dir => found.size.dirs += 1,
            Found::File { path, dir, name } => {
                found.size.files += 1;
                found.size.bytes = found.size.bytes.saturating_add(dir.stat_of(name)?.len);
                found.paths.extend(path.to_str().map(|path| numbers.of(path)));
            }
        }
        Ok(found.size.files <= max_files && found.size.dirs <= max_files)
    })?;
    Ok(found)
}

/// The path below `dir` that has this number, if any is found among the first `max_files`.
///
/// # Errors
/// The error from the file system.
pub fn path_of(
    fs: &dyn Fs,
    dir: &Path,
    max_files: u64,
    numbers: &PathNumbers,
    number: u64,
) -> io::Result<Option<String>> {
    let (mut seen, mut wanted) = (0, None);
    walk(fs.open_dir(dir)?.as_ref(), Path::new(""), 0, &mut |entry| {
        seen += 1;
        if let Found::File { path, .. } = entry {
            wanted = path.to_str().filter(|path| numbers.of(path) == number).map(str::to_owned);
        }
        Ok(wanted.is_none() && seen <= max_files)
    })?;
    Ok(wanted)
}

enum Found<'a> {
    Dir,
    File {
        /// Its path below the drop.
        path: &'a Path,
        /// Its directory.
        dir: &'a dyn Dir,
        /// Its name there.
        name: &'a OsStr,
    },
}

/// Calls `visit` for every file and directory below the open directory `dir`, until it returns `false`; returns whether it
/// never did.
fn walk(
    dir: &dyn Dir,
    below: &Path,
    depth: usize,
    visit: &mut dyn FnMut(Found<'_>) -> io::Result<bool>,
) -> io::Result<bool> {
    for entry in dir.entries()? {
        let path = below.join(&entry.name);
        let more = match entry.kind {
            FileKind::File => visit(Found::File { path: &path, dir, name: &entry.name })?,
            FileKind::Dir => {
                visit(Found::Dir)?
                    && (depth >= MAX_DROP_DEPTH || walk(dir.open_dir(&entry.name)?.as_ref(), &path, depth + 1, visit)?)
            }
            FileKind::Symlink | FileKind::Other => true,
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}
