//! The files that go into a drop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs};
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
            FileKind::Dir => walk(fs, &real, &mut found)?,
            FileKind::File => {
                let name = source.file_name().or_else(|| real.file_name()).and_then(|name| name.to_str());
                let name = name.ok_or_else(|| refused(source, "has a name that is not UTF-8"))?;
                add(&mut found, name.to_owned(), real.clone(), stat.len)?;
            }
            FileKind::Symlink | FileKind::Other => return Err(refused(source, "is neither a file nor a directory")),
        }
    }
    if found.keys().all(|path| path == MANIFEST) {
        return Err(CliError::invalid_input("no files to release: the sources hold no file other than a manifest")
            .hint("name files, or a directory with files in it; empty directories are not released"));
    }
    Ok(found.into_iter().map(|(path, (file, len))| DropItem { path, content: ItemContent::File(file, len) }).collect())
}

/// Collected files by target path, with their sizes in bytes.
type CollectedFiles = BTreeMap<String, (PathBuf, u64)>;

fn walk(fs: &dyn Fs, top: &Path, found: &mut CollectedFiles) -> Result<(), CliError> {
    let mut todo = vec![(top.to_owned(), String::new(), 0_usize)];
    while let Some((dir, prefix, depth)) = todo.pop() {
        for entry in fs.read_dir(&dir).map_err(|error| CliError::reading(&dir, error))? {
            let file = dir.join(&entry.name);
            let Some(name) = entry.name.to_str() else {
                return Err(refused(&file, "has a name that is not UTF-8"));
            };
            let path = format!("{prefix}{name}");
            match entry.kind {
                FileKind::Dir if depth >= MAX_DROP_DEPTH => {
                    return Err(refused(&file, &format!("is nested more than {MAX_DROP_DEPTH} directories deep")));
                }
                FileKind::Dir => todo.push((file, format!("{path}/"), depth + 1)),
                FileKind::File => {
                    let len = fs.stat(&file).map_err(|error| CliError::reading(&file, error))?.len;
                    add(found, path, file, len)?;
                }
                FileKind::Symlink => return Err(refused(&file, "is a symbolic link; a drop holds regular files only")),
                FileKind::Other => return Err(refused(&file, "is neither a file nor a directory")),
            }
        }
    }
    Ok(())
}

fn add(found: &mut CollectedFiles, path: String, file: PathBuf, len: u64) -> Result<(), CliError> {
    if let Err(error) = TargetPath::new(&path) {
        return Err(refused(&file, &format!("cannot become a target: its path {}", error.reason())));
    }
    if found.len() >= MAX_FILES {
        return Err(CliError::invalid_input(format!("too many files: one drop holds at most {MAX_FILES}"))
            .hint("post them as several drops"));
    }
    if let Some((other, _)) = found.insert(path.clone(), (file.clone(), len)) {
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
