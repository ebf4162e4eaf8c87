//! Inbound files become target files of the repository.
//!
//! Each is opened beneath the inbound directory without following a link, and copied once, while it is hashed, into a
//! file that the repository owns. The hash of the bytes written is signed, so a producer that changes its own file
//! afterwards changes nothing published.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs, Stat};
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
        let mut found = Vec::new();
        let mut todo = vec![(PathBuf::new(), 0)];
        while let Some((below, depth)) = todo.pop() {
            let shown = dir.join(&below);
            if depth > MAX_DROP_DEPTH {
                return Err(TargetFault::TooDeep { path: shown }.into());
            }
            let entries = self.fs.read_dir(&self.inbound.join(&shown)).map_err(|error| unread(&shown, error))?;
            for entry in entries {
                let path = below.join(&entry.name);
                match entry.kind {
                    FileKind::Dir => todo.push((path, depth + 1)),
                    FileKind::File => {
                        let name = path.to_str().ok_or_else(|| TargetFault::NotUtf8 { path: path.clone() })?;
                        found.push(TargetPath::new(name).map_err(TargetFault::from)?);
                    }
                    FileKind::Symlink | FileKind::Other => {
                        return Err(TargetFault::NotARegularFile { path }.into());
                    }
                }
            }
        }
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
