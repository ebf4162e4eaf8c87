//! The files that go into a drop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Dir, FileKind, Fs};
use fleet::batch::MAX_DROP_DEPTH;
use monitor_worker::manifest::MANIFEST;
use tuf_core::names::TargetPath;

use super::drop_item::{DropItem, ItemContent};
use crate::error::CliError;

/// Most files in one drop; the monitor refuses more.
const MAX_FILES: usize = 1_000_000;

/// Collects the named files and the files below the named directories, sorted by path. Links are refused, named ones and
/// those below a directory, as the monitor would refuse them: what a link leads to may change without the user's knowledge.
/// A directory that is a link can be named with a slash at its end.
///
/// # Errors
/// The first file that cannot be released. Nothing has been written then.
pub fn collect(fs: &dyn Fs, sources: &[PathBuf]) -> Result<Vec<DropItem>, CliError> {
    let mut found = BTreeMap::new();
    for source in sources {
        let named = fs.stat(source).map_err(|error| CliError::reading(source, error))?;
        if named.kind == FileKind::Symlink {
            return Err(refused(source, "is a symbolic link")
                .hint("nothing was posted; name the file or directory that it leads to"));
        }
        let real = source.canonicalize().map_err(|error| CliError::reading(source, error))?;
        let stat = fs.stat(&real).map_err(|error| CliError::reading(source, error))?;
        match stat.kind {
            FileKind::Dir => {
                let top = fs.open_dir(&real).map_err(|error| CliError::reading(&real, error))?;
                walk(top.as_ref(), &Arc::from(real.as_path()), "", 0, &mut found)?;
            }
            FileKind::File => {
                let name = source.file_name().or_else(|| real.file_name()).and_then(|name| name.to_str());
                let name = name.ok_or_else(|| refused(source, "has a name that is not UTF-8"))?;
                add(&mut found, name.to_owned(), &real, ItemContent::File(real.clone(), stat.len))?;
            }
            FileKind::Symlink | FileKind::Other => return Err(refused(source, "is neither a file nor a directory")),
        }
    }
    if found.keys().all(|path| path == MANIFEST) {
        return Err(CliError::invalid_input("no files to release: the sources hold no file other than a manifest")
            .hint("name files, or a directory with files in it; empty directories are not released"));
    }
    Ok(found.into_iter().map(|(path, (_, content))| DropItem { path, content }).collect())
}

/// Collected files by target path, with the path to be shown and the way to the bytes.
type CollectedFiles = BTreeMap<String, (PathBuf, ItemContent)>;

/// Adds the files of the open directory `dir`, which is `prefix` below `top`.
fn walk(
    dir: &dyn Dir,
    top: &Arc<Path>,
    prefix: &str,
    depth: usize,
    found: &mut CollectedFiles,
) -> Result<(), CliError> {
    let here = top.join(prefix);
    for entry in dir.entries().map_err(|error| CliError::reading(&here, error))? {
        let file = here.join(&entry.name);
        let reading = |error| CliError::reading(&file, error);
        let Some(name) = entry.name.to_str() else {
            return Err(refused(&file, "has a name that is not UTF-8"));
        };
        let path = format!("{prefix}{name}");
        match entry.kind {
            FileKind::Dir if depth >= MAX_DROP_DEPTH => {
                return Err(refused(&file, &format!("is nested more than {MAX_DROP_DEPTH} directories deep")));
            }
            FileKind::Dir => {
                let below = dir.open_dir(&entry.name).map_err(reading)?;
                walk(below.as_ref(), top, &format!("{path}/"), depth + 1, found)?;
            }
            FileKind::File => {
                let len = dir.stat_of(&entry.name).map_err(reading)?.len;
                add(found, path, &file, ItemContent::Below(Arc::clone(top), len))?;
            }
            FileKind::Symlink => return Err(refused(&file, "is a symbolic link; a drop holds regular files only")),
            FileKind::Other => return Err(refused(&file, "is neither a file nor a directory")),
        }
    }
    Ok(())
}

fn add(found: &mut CollectedFiles, path: String, file: &Path, content: ItemContent) -> Result<(), CliError> {
    if let Err(error) = TargetPath::new(&path) {
        return Err(refused(file, &format!("cannot become a target: its path {}", error.reason())));
    }
    if found.len() >= MAX_FILES {
        return Err(CliError::invalid_input(format!("too many files: one drop holds at most {MAX_FILES}"))
            .hint("post them as several drops"));
    }
    if let Some((other, _)) = found.insert(path.clone(), (file.to_owned(), content)) {
        return Err(CliError::invalid_input(format!(
            "{} and {} would both become the target {path:?}",
            other.display(),
            file.display()
        ))
        .hint("post a directory that holds both: target paths begin below the directories that you name"));
    }
    Ok(())
}

fn refused(path: &Path, fault: &str) -> CliError {
    CliError::invalid_input(format!("{} {fault}", path.display()))
        .hint("nothing was posted; remove or rename it, or put a regular file in its place")
}
