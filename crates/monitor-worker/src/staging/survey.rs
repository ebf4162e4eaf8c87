//! What a drop holds, found in one walk: its size, and its paths as numbers.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use durable_fs::{Dir, FileKind, Fs, durable};
use fleet::batch::MAX_DROP_DEPTH;

use super::measure::DirSize;
use super::walk::is_nfs_leftover;
use crate::manifest::MANIFEST;
use crate::rejection::REASON_FILE;

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
    /// The numbers of its paths, sorted; names that are not UTF-8 are left out. `None` where they are not known, because the
    /// drop has too many.
    pub paths: Option<Arc<[u64]>>,
    /// The newest change of a file or directory in it (seconds, nanoseconds); the far future if that of one cannot be read.
    pub newest: Option<(i64, u32)>,
}

/// Walks through the drop at `dir`; links and special files do not count, nor do files that are nested more deeply than those
/// of a drop may be. Stops where the drop has more than `max_files` targets or directories, or other names, so that it is
/// certainly rejected. A file whose state cannot be read counts as empty: its path is known. `beat` is called for each name and
/// returns whether to continue; if not, the survey is of no use.
///
/// # Errors
/// A directory cannot be read, so that its paths are not known.
pub fn survey(
    fs: &dyn Fs,
    dir: &Path,
    max_files: u64,
    numbers: &PathNumbers,
    beat: &dyn Fn() -> bool,
) -> io::Result<DropSurvey> {
    durable::retry_stale(|| survey_once(fs, dir, max_files, numbers, beat))
}

fn survey_once(
    fs: &dyn Fs,
    dir: &Path,
    max_files: u64,
    numbers: &PathNumbers,
    beat: &dyn Fn() -> bool,
) -> io::Result<DropSurvey> {
    let (mut size, mut newest, mut targets, mut others) = (DirSize::default(), None, 0_u64, 0_u64);
    let mut paths = Vec::new();
    let whole = walk(fs.open_dir(dir)?.as_ref(), Path::new(""), 0, &mut |entry| {
        match entry {
            Found::Dir { dir, name } => {
                size.dirs += 1;
                newest = newest.max(Some(change_time(dir, name)));
            }
            Found::Other => others += 1,
            Found::File { path, dir, name } => {
                size.files += 1;
                // Neither of these is a target, as a rule.
                targets += u64::from(![MANIFEST, REASON_FILE].iter().any(|name| path == Path::new(name)));
                let (len, changed) = match dir.stat_of(name) {
                    Ok(stat) => (stat.len, (stat.ctime, stat.ctime_nanos)),
                    Err(_) => (0, UNKNOWN_CHANGE),
                };
                size.bytes = size.bytes.saturating_add(len);
                newest = newest.max(Some(changed));
                paths.extend(path.to_str().map(|path| numbers.of(path)));
            }
        }
        targets.max(size.dirs).max(others) <= max_files && beat()
    })?;
    paths.sort_unstable();
    Ok(DropSurvey { size, paths: whole.then(|| paths.into()), newest })
}

/// Calls `visit` for the number of each path below `dir`, until it returns `false`.
///
/// # Errors
/// A directory cannot be read.
pub fn for_each_path(
    fs: &dyn Fs,
    dir: &Path,
    numbers: &PathNumbers,
    visit: &mut dyn FnMut(u64, &str) -> bool,
) -> io::Result<()> {
    walk(fs.open_dir(dir)?.as_ref(), Path::new(""), 0, &mut |entry| match entry {
        Found::File { path, .. } => path.to_str().is_none_or(|path| visit(numbers.of(path), path)),
        Found::Dir { .. } | Found::Other => true,
    })
    .map(drop)
}

/// The change time of something that cannot be read: the far future.
const UNKNOWN_CHANGE: (i64, u32) = (i64::MAX, 0);

fn change_time(dir: &dyn Dir, name: &OsStr) -> (i64, u32) {
    dir.stat_of(name).map_or(UNKNOWN_CHANGE, |stat| (stat.ctime, stat.ctime_nanos))
}

enum Found<'a> {
    /// A directory: the one above it, and its name there.
    Dir { dir: &'a dyn Dir, name: &'a OsStr },
    /// A link, a special file, or a name that an NFS client left.
    Other,
    File {
        /// Its path below the drop.
        path: &'a Path,
        /// Its directory.
        dir: &'a dyn Dir,
        /// Its name there.
        name: &'a OsStr,
    },
}

/// Calls `visit` for everything below the open directory `dir`, until it returns `false`; returns whether it never did.
fn walk(dir: &dyn Dir, below: &Path, depth: usize, visit: &mut dyn FnMut(Found<'_>) -> bool) -> io::Result<bool> {
    for entry in dir.iter_entries()? {
        let entry = entry?;
        let path = below.join(&entry.name);
        let more = match entry.kind {
            _ if entry.name.to_str().is_some_and(is_nfs_leftover) => visit(Found::Other),
            FileKind::File => visit(Found::File { path: &path, dir, name: &entry.name }),
            FileKind::Dir => {
                visit(Found::Dir { dir, name: &entry.name })
                    && (depth >= MAX_DROP_DEPTH || walk(dir.open_dir(&entry.name)?.as_ref(), &path, depth + 1, visit)?)
            }
            FileKind::Symlink | FileKind::Other => visit(Found::Other),
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}
