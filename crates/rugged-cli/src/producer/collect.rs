//! What goes into a drop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs};
use monitor_worker::manifest::MANIFEST;
use tuf_core::names::TargetPath;

use crate::error::CliError;

/// More files than the monitor takes in one drop are refused here already.
const MAX_FILES: usize = 1_000_000;
/// Deeper trees are refused by the monitor.
const MAX_DEPTH: usize = 64;

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file somewhere, of about this many bytes.
    File(PathBuf, u64),
    /// These.
    Bytes(Vec<u8>),
}

/// A file that goes into a drop.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its path in the drop, which becomes the target path.
    pub path: String,
    /// Its bytes.
    pub content: Content,
}

impl Item {
    /// About how many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::File(_, len) => *len,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// The files below directories and the files named, sorted by path. A path that is a link itself is followed, because
/// its user typed it; links below are refused, as the monitor would.
///
/// # Errors
/// What cannot be released, by name: nothing has been written then.
pub fn collect(fs: &dyn Fs, sources: &[PathBuf]) -> Result<Vec<Item>, CliError> {
    let mut found = BTreeMap::new();
    for source in sources {
        let real = source.canonicalize().map_err(|error| CliError::reading(source, &error))?;
        let stat = fs.stat(&real).map_err(|error| CliError::reading(source, &error))?;
        match stat.kind {
            FileKind::Dir => walk(fs, &real, &mut found)?,
            FileKind::File => {
                let name = source.file_name().or_else(|| real.file_name()).and_then(|name| name.to_str());
                let name = name.ok_or_else(|| CliError::usage(format!("{} has no name in UTF-8", source.display())))?;
                add(&mut found, name.to_owned(), real.clone(), stat.len)?;
            }
            FileKind::Symlink | FileKind::Other => return Err(refused(source, "is neither a file nor a directory")),
        }
    }
    if found.keys().all(|path| path == MANIFEST) {
        return Err(CliError::usage("there are no files to release")
            .hint("name a directory with files in it, or files; empty directories are not targets"));
    }
    Ok(found.into_iter().map(|(path, (file, len))| Item { path, content: Content::File(file, len) }).collect())
}

type Found = BTreeMap<String, (PathBuf, u64)>;

fn walk(fs: &dyn Fs, top: &Path, found: &mut Found) -> Result<(), CliError> {
    let mut todo = vec![(top.to_owned(), String::new(), 0_usize)];
    while let Some((dir, prefix, depth)) = todo.pop() {
        for entry in fs.read_dir(&dir).map_err(|error| CliError::reading(&dir, &error))? {
            let file = dir.join(&entry.name);
            let Some(name) = entry.name.to_str() else {
                return Err(refused(&file, "has a name that is not UTF-8"));
            };
            let path = format!("{prefix}{name}");
            match entry.kind {
                FileKind::Dir if depth >= MAX_DEPTH => return Err(refused(&file, "is more than 64 directories deep")),
                FileKind::Dir => todo.push((file, format!("{path}/"), depth + 1)),
                FileKind::File => {
                    let len = fs.stat(&file).map_err(|error| CliError::reading(&file, &error))?.len;
                    add(found, path, file, len)?;
                }
                FileKind::Symlink => return Err(refused(&file, "is a symbolic link; targets are plain files")),
                FileKind::Other => return Err(refused(&file, "is neither a file nor a directory")),
            }
        }
    }
    Ok(())
}

fn add(found: &mut Found, path: String, file: PathBuf, len: u64) -> Result<(), CliError> {
    if let Err(error) = TargetPath::new(&path) {
        return Err(refused(&file, &format!("cannot be a target: its path {}", error.reason())));
    }
    if found.len() >= MAX_FILES {
        return Err(CliError::usage(format!("a drop holds {MAX_FILES} files at most")).hint("post it in several parts"));
    }
    if let Some((other, _)) = found.insert(path.clone(), (file.clone(), len)) {
        return Err(CliError::usage(format!(
            "{} and {} are both {path:?} in the drop",
            other.display(),
            file.display()
        ))
        .hint("of a directory its contents are taken, not its name; put both into one directory first"));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> CliError {
    CliError::usage(format!("{} {why}", path.display())).hint("nothing was posted; leave it out or copy it into place")
}
