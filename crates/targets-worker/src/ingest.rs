//! Files that somebody else wrote become target files of ours.
//!
//! Each is opened beneath the inbound directory without following a link and copied once, while it is hashed, into a
//! file the repository owns. The hash of the bytes written is what gets signed, so nothing a producer does to its own
//! file afterwards changes what is published.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs, Stat};
use tuf_core::names::{MAX_COMPONENT_BYTES, TargetPath};
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier, Sha256Hasher};
use tuf_core::store::{Created, FileName, InvalidFileName, NewFile, StagedStream, Store, StoreError};
use tuf_repository::roles::TargetEntry;

/// Deepest directory of a drop that is walked.
const MAX_DEPTH: usize = 64;
/// Longest first or last component of a target path: a hash of 64 digits and a dot go in front of the last where clients of
/// consistent snapshots look, and of the first where those of tough do.
const MAX_PREFIXED_BYTES: usize = MAX_COMPONENT_BYTES - 65;
/// Largest target file: 1 TiB, far beyond any release; a bound all the same.
pub const MAX_TARGET_BYTES: u64 = 1 << 40;

/// Why files could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The producer's fault: the drop is rejected with this reason.
    #[error("{0}")]
    Rejected(String),
    /// What was to be read is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// Disk, mount or network: trying again later is right.
    #[error("{0}")]
    Infrastructure(String),
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> Self {
        Self::Infrastructure(error.to_string())
    }
}

/// A file taken in: what is signed of it, and the copy that waits for its names (none where files are not kept).
#[derive(Debug)]
pub struct Taken {
    /// Its target path.
    pub path: TargetPath,
    /// Length and hash of the bytes written.
    pub entry: TargetEntry,
    /// The file it was read from, as it was when opened.
    pub source: Stat,
    staged: Option<StagedStream>,
}

/// Takes files in.
#[derive(Clone, Debug)]
pub struct Ingest<'a> {
    /// Where they are read.
    pub fs: &'a dyn Fs,
    /// The inbound directory.
    pub inbound: &'a Path,
    /// Where copies go; `None` where target files are not kept in the repository.
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
            if depth > MAX_DEPTH {
                return Err(IngestError::Rejected(format!("{} is nested too deeply", shown.display())));
            }
            let entries = self.fs.read_dir(&self.inbound.join(&shown)).map_err(|error| lost(&shown, &error))?;
            for entry in entries {
                let path = below.join(&entry.name);
                match entry.kind {
                    FileKind::Dir => todo.push((path, depth + 1)),
                    FileKind::File => {
                        let name = path.to_str().ok_or_else(|| {
                            IngestError::Rejected(format!("the name of {} is not UTF-8", path.display()))
                        })?;
                        found.push(TargetPath::new(name).map_err(|e| IngestError::Rejected(e.to_string()))?);
                    }
                    FileKind::Symlink | FileKind::Other => {
                        return Err(IngestError::Rejected(format!("{} is not a regular file", path.display())));
                    }
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Copies one file, `dir`/`path` of the inbound directory, hashing what is written.
    ///
    /// # Errors
    /// [`IngestError`].
    pub fn take(&self, dir: &Path, path: TargetPath) -> Result<Taken, IngestError> {
        let first = path.as_str().split('/').next().unwrap_or_default();
        if first.len().max(path.file_name().len()) > MAX_PREFIXED_BYTES {
            return Err(IngestError::Rejected(format!(
                "the name of {path} is too long: its first and its last component may have {MAX_PREFIXED_BYTES} bytes, so \
                 that there is room for a hash in front of it"
            )));
        }
        // Found out here, where it rejects one drop, and not when all of a batch gets its names. The plain name is wanted
        // where snapshots are not consistent.
        let plain = FileName::new(path.as_str()).map(|name| vec![name]);
        if let Err(error) = plain.and(names_of(&path, &"0".repeat(64))) {
            return Err(IngestError::Rejected(format!("{path} cannot be kept: {}", error.reason)));
        }
        let relative = dir.join(path.as_str());
        let mut file = self.fs.open_beneath(self.inbound, &relative).map_err(|error| lost(&relative, &error))?;
        let source = file.stat().map_err(|error| lost(&relative, &error))?;
        let (entry, staged) = match self.targets {
            Some(store) => {
                let staged = store.stage("", &mut file, MAX_TARGET_BYTES)?;
                let entry = TargetEntry { length: staged.length(), sha256: staged.sha256() };
                (entry, Some(staged))
            }
            None => (hash(&mut file).map_err(|error| lost(&relative, &error))?, None),
        };
        Ok(Taken { path, entry, source, staged })
    }

    /// Gives the copies their names, durably: `dir/HASH.name`, and `HASH.dir/name` for clients of tough. One file each.
    ///
    /// # Errors
    /// [`IngestError`].
    pub fn keep<'t>(&self, taken: impl Iterator<Item = &'t mut Taken>) -> Result<(), IngestError> {
        let Some(store) = self.targets else { return Ok(()) };
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for taken in taken {
            let Some(staged) = taken.staged.take() else { continue };
            let of_file = names_of(&taken.path, &taken.entry.sha256.to_string())
                .map_err(|error| IngestError::Rejected(error.to_string()))?;
            names.push(of_file.clone());
            files.push(NewFile::staged(of_file, staged));
        }
        if files.is_empty() {
            return Ok(());
        }
        match store.create_all(files) {
            Ok(created) => match created.iter().position(|created| *created == Created::Conflict) {
                None => Ok(()),
                Some(index) => Err(clash(store, &names[index..=index]).unwrap_or_else(|| {
                    IngestError::Infrastructure(format!(
                        "{} holds other bytes than its name says: remove it from the targets directory",
                        names[index][0]
                    ))
                })),
            },
            Err(error) => Err(clash(store, &names).unwrap_or_else(|| error.into())),
        }
    }
}

/// The names of a target file with this hash: `dir/HASH.name`, and `HASH.dir/name` for clients of tough.
fn names_of(path: &TargetPath, hash: &str) -> Result<Vec<FileName>, InvalidFileName> {
    let mut names = vec![FileName::new(path.hash_prefixed(hash))?];
    let other = format!("{hash}.{path}");
    if names[0].as_str() != other {
        names.push(FileName::new(other)?);
    }
    Ok(names)
}

/// Why files cannot have these names, if one of them is a directory or lies below a file: an earlier release has a path
/// that would have to be file and directory at once. That does not pass, so it is the release's fault.
fn clash(store: &dyn Store, names: &[Vec<FileName>]) -> Option<IngestError> {
    names.iter().flatten().find_map(|name| {
        let is_dir = store.list_dirs(name.dir()).is_ok_and(|dirs| dirs.iter().any(|dir| dir == name.base()));
        let above = ancestors(name.as_str())
            .find(|above| FileName::new(*above).is_ok_and(|above| store.stat(&above).is_ok_and(|stat| stat.is_some())));
        let reason = match above {
            Some(above) => format!("{name} cannot be kept: {above} is a file in the targets directory"),
            None if is_dir => format!("{name} cannot be kept: it is a directory in the targets directory"),
            None => return None,
        };
        Some(IngestError::Rejected(reason))
    })
}

/// The directories a path lies in.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn hash(reader: &mut dyn Read) -> io::Result<TargetEntry> {
    match HashingCopier::new().copy(reader, u64::MAX, |_| Ok::<(), Infallible>(())) {
        Ok(FileDigest { length, sha256 }) => Ok(TargetEntry { length, sha256 }),
        Err(CopyError::Read(error)) => Err(error),
        Err(CopyError::TooLong { .. }) => Err(io::ErrorKind::FileTooLarge.into()),
        Err(CopyError::Write(never)) => match never {},
    }
}

fn lost(path: &Path, error: &io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::NotFound => IngestError::Missing(path.display().to_string()),
        io::ErrorKind::InvalidInput => IngestError::Rejected(format!("{}: {error}", path.display())),
        _ => IngestError::Infrastructure(format!("{}: {error}", path.display())),
    }
}

/// The digest of a drop's file list: SHA-256 over the lines `<sha256> <length> <path>\n`, sorted by path.
#[must_use]
pub fn list_digest<'a>(files: impl Iterator<Item = (&'a TargetPath, TargetEntry)>) -> String {
    let mut files: Vec<_> = files.collect();
    files.sort_unstable_by_key(|(path, _)| *path);
    let mut hasher = Sha256Hasher::new();
    for (path, entry) in files {
        hasher.update(format!("{} {} {path}\n", entry.sha256, entry.length).as_bytes());
    }
    hasher.finish().to_string()
}
