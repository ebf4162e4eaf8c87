//! Inbound files become target files of the repository.
//!
//! Each is opened beneath the inbound directory without following a link, and copied once, while it is hashed, into a
//! file that the repository owns. The hash of the bytes written is signed, so a producer that changes its own file
//! afterwards changes nothing published.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use durable_fs::{Dir, DirEntry, FileKind, Fs, Stat};
use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::names::TargetPath;
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier};
use tuf_core::store::{Created, FileName, NewFile, StagedStream, Store, StoreError};
use tuf_repository::roles::TargetEntry;

use crate::fault::TargetFault;
use crate::kept_names::{clash, names_of};
use crate::limits::{MAX_PREFIXED_BYTES, MAX_TARGET_BYTES};

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The producer's fault: the drop is rejected with this reason.
    #[error(transparent)]
    Rejected(#[from] TargetFault),
    /// A file or directory is missing.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path, relative to the inbound directory.
        path: PathBuf,
    },
    /// A fault of the inbound directory; trying again later may succeed.
    #[error("{}: {source}", path.display())]
    Inbound {
        /// The path, relative to the inbound directory.
        path: PathBuf,
        /// The error from the file system.
        source: io::Error,
    },
    /// A fault of the targets directory; trying again later may succeed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another program wrote a file under the name of a target file.
    #[error("{name} does not match the hash in its name: remove it from the targets directory")]
    SquattedName {
        /// The name in the targets directory.
        name: FileName,
    },
}

/// A copied file: its entry for signing, and the copy that is yet to be named (none where files are not kept).
#[derive(Debug)]
pub struct IngestedFile {
    /// Its target path.
    pub path: TargetPath,
    /// Length and hash of the bytes written.
    pub entry: TargetEntry,
    /// The state of the original when it was opened.
    pub source: Stat,
    staged: Option<StagedStream>,
}

/// Copies files out of the inbound directory.
#[derive(Clone, Debug)]
pub struct Ingest<'a> {
    /// The file system.
    pub fs: &'a dyn Fs,
    /// The inbound directory.
    pub inbound: &'a Path,
    /// The targets directory; `None` where target files are not kept in the repository.
    pub targets: Option<&'a dyn Store>,
}

impl Ingest<'_> {
    /// Every file below `dir` (relative to the inbound directory), as target paths relative to `dir`, sorted.
    ///
    /// # Errors
    /// [`IngestError::Rejected`] for anything but files and directories and for names that cannot be target paths.
    pub fn list(&self, dir: &Path) -> Result<Vec<TargetPath>, IngestError> {
        let open = self.open_dir(dir).map_err(|error| unread(dir, error))?;
        let mut found = Vec::new();
        list_open(open.as_ref(), dir, Path::new(""), 0, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    /// Copies one file, `dir`/`path` of the inbound directory, and hashes the bytes written.
    ///
    /// # Errors
    /// [`IngestError`].
    pub fn take(&self, dir: &Path, path: TargetPath) -> Result<IngestedFile, IngestError> {
        let first = path.as_str().split('/').next().unwrap_or_default();
        if first.len().max(path.file_name().len()) > MAX_PREFIXED_BYTES {
            return Err(TargetFault::NameTooLong { path }.into());
        }
        // Checked here, where it rejects one drop, and not when the whole batch gets its names. The plain name is needed
        // where snapshots are not consistent.
        let plain = FileName::new(path.as_str()).map(|name| vec![name]);
        if let Err(source) = plain.and(names_of(&path, &"0".repeat(64))) {
            return Err(TargetFault::NotAFileName { path, source }.into());
        }
        let relative = dir.join(path.as_str());
        let mut file = self.fs.open_beneath(self.inbound, &relative).map_err(|error| unread(&relative, error))?;
        let source = file.stat().map_err(|error| unread(&relative, error))?;
        let (entry, staged) = match self.targets {
            Some(store) => {
                let staged = store.stage("", &mut file, MAX_TARGET_BYTES)?;
                let entry = TargetEntry { length: staged.length(), sha256: staged.sha256() };
                (entry, Some(staged))
            }
            None => (hash(&mut file).map_err(|error| unread(&relative, error))?, None),
        };
        Ok(IngestedFile { path, entry, source, staged })
    }

    /// Removes the original of a file that was copied from the inbound directory itself, unless it was replaced meanwhile.
    ///
    /// # Errors
    /// The error from the file system.
    pub fn remove_original(&self, file: &IngestedFile) -> io::Result<()> {
        let path = Path::new(file.path.as_str());
        let (dir, name) = (path.parent().unwrap_or(Path::new("")), OsStr::new(file.path.file_name()));
        let dir = self.open_dir(dir)?;
        let now = dir.stat_of(name)?;
        // Anyone may set the modification time; the time of the last change is the kernel's.
        let state = |stat: &Stat| (stat.id, stat.len, stat.ctime, stat.ctime_nanos);
        if state(&now) == state(&file.source) {
            dir.remove_file(name)?;
        }
        Ok(())
    }

    /// Opens a directory of the inbound directory: each component in the one above it, so no link leads elsewhere.
    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn Dir>> {
        // The inbound directory itself may be a link.
        let mut open = self.fs.open_dir(&self.inbound.join(""))?;
        for component in dir.components() {
            open = open.open_dir(component.as_os_str())?;
        }
        Ok(open)
    }

    /// Gives the copies their names, durably: `dir/HASH.name`, and `HASH.dir/name` for clients of tough. One file each.
    ///
    /// # Errors
    /// [`IngestError`].
    pub fn keep<'t>(&self, taken: impl Iterator<Item = &'t mut IngestedFile>) -> Result<(), IngestError> {
        let Some(store) = self.targets else { return Ok(()) };
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for taken in taken {
            let Some(staged) = taken.staged.take() else { continue };
            let of_file = names_of(&taken.path, &taken.entry.sha256.to_string())
                .map_err(|source| TargetFault::NotAFileName { path: taken.path.clone(), source })?;
            names.push(of_file.clone());
            files.push(NewFile::staged(of_file, staged));
        }
        if files.is_empty() {
            return Ok(());
        }
        match store.create_all(files) {
            Ok(created) => match created.iter().position(|created| *created == Created::Conflict) {
                None => Ok(()),
                Some(index) => match clash(store, &names[index..=index]) {
                    Some(fault) => Err(fault.into()),
                    None => Err(IngestError::SquattedName { name: names[index][0].clone() }),
                },
            },
            Err(error) => Err(clash(store, &names).map_or_else(|| error.into(), IngestError::from)),
        }
    }
}

/// Adds every file below an open directory, which is `below` the directory `top` of the inbound directory. Each directory is
/// looked up in the one above it, so no link leads elsewhere.
fn list_open(
    dir: &dyn Dir,
    top: &Path,
    below: &Path,
    depth: usize,
    found: &mut Vec<TargetPath>,
) -> Result<(), IngestError> {
    let shown = top.join(below);
    if depth > MAX_DROP_DEPTH {
        return Err(TargetFault::TooDeep { path: shown }.into());
    }
    for DirEntry { name, kind } in dir.entries().map_err(|error| unread(&shown, error))? {
        let path = below.join(&name);
        match kind {
            FileKind::Dir => {
                let inner = dir.open_dir(&name).map_err(|error| unread(&top.join(&path), error))?;
                list_open(inner.as_ref(), top, &path, depth + 1, found)?;
            }
            FileKind::File => {
                let name = path.to_str().ok_or_else(|| TargetFault::NotUtf8 { path: path.clone() })?;
                found.push(TargetPath::new(name).map_err(TargetFault::from)?);
            }
            FileKind::Symlink | FileKind::Other => return Err(TargetFault::NotARegularFile { path }.into()),
        }
    }
    Ok(())
}

fn hash(reader: &mut dyn Read) -> io::Result<TargetEntry> {
    match HashingCopier::new().copy(reader, u64::MAX, |_| Ok::<(), Infallible>(())) {
        Ok(FileDigest { length, sha256 }) => Ok(TargetEntry { length, sha256 }),
        Err(CopyError::Read(error)) => Err(error),
        Err(CopyError::TooLong { .. }) => Err(io::ErrorKind::FileTooLarge.into()),
        Err(CopyError::Write(never)) => match never {},
    }
}

/// An error while reading `path`, relative to the inbound directory.
fn unread(path: &Path, source: io::Error) -> IngestError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => IngestError::Missing { path },
        io::ErrorKind::InvalidInput => TargetFault::CannotBeOpened { path, source }.into(),
        _ => IngestError::Inbound { path, source },
    }
}
