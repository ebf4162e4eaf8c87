//! Creates files under names that are free, many at a time with few syncs.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compare::holds;
use super::dirs::create_dir_all;
use super::lost_reply::{link_new, remove_file_if_there};
use super::path_error::{context, parent};
use super::sync::{MAX_SINGLE_SYNCS, sync_dirs};
use super::temp::TempFile;
use super::write_batch::WriteBatch;
use crate::{Fs, WriteFile};

/// The result of creating one file. For several names it is the worst: `Conflict`, then `Created`, then `SameBytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// This call created the name.
    Created,
    /// The name already held exactly these bytes, and is durable now. Its modification time is no older than if this call
    /// had created it (unless another user owns the file).
    SameBytes,
    /// The name holds other bytes, or is not a regular file. It did not change.
    Conflict,
}

/// The bytes of a new file.
pub enum ByteSource<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A temporary file on the same mount. The temporary name is removed.
    Temp {
        /// Its path.
        path: &'a Path,
        /// Its descriptor, if it is still open.
        file: Option<Box<dyn WriteFile>>,
        /// A batch that began before the file was made, and with which it was closed.
        batch: Arc<WriteBatch>,
    },
}

impl fmt::Debug for ByteSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Temp { path, .. } => f.debug_tuple("Temp").field(path).finish(),
        }
    }
}

/// A file to be created under one or more names (links to one file). Their directories exist.
#[derive(Debug)]
pub struct FileToCreate<'a> {
    /// The names.
    pub names: &'a [PathBuf],
    /// The bytes.
    pub source: ByteSource<'a>,
}

/// Creates one file: writes `bytes` to a temporary file in the same directory, syncs it, links it to `path`, removes the
/// temporary name and syncs the directory. `true`: this call created it. `false`: the name already held exactly these bytes.
///
/// # Errors
/// `AlreadyExists` when the name holds other bytes. Safe to repeat after any crash.
pub fn create(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let names = [path.to_path_buf()];
    let outcomes = create_files(fs, &mut [FileToCreate { names: &names, source: ByteSource::Bytes(bytes) }], mode)?;
    match outcomes.first() {
        Some(CreateOutcome::Created) => Ok(true),
        Some(CreateOutcome::SameBytes) => Ok(false),
        _ => {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "the name holds other bytes");
            Err(context("create", path, error))
        }
    }
}

/// Creates files below `dir` under relative names. Missing sub-directories are made. All data is durable before the first
/// name appears, and all names are durable when it returns. It overwrites no file.
///
/// # Errors
/// Any error of the file system. Any subset of the files may exist then. Safe to repeat.
pub fn create_many(fs: &dyn Fs, dir: &Path, files: &[(&str, &[u8])], mode: u32) -> io::Result<Vec<CreateOutcome>> {
    let names: Vec<[PathBuf; 1]> = files.iter().map(|(name, _)| [dir.join(name)]).collect();
    let dirs: BTreeSet<&Path> = names.iter().map(|[name]| parent(name)).collect();
    for below in dirs {
        if below != dir {
            create_dir_all(fs, below, dir_mode(mode))?;
        }
    }
    let mut new_files: Vec<FileToCreate<'_>> = names
        .iter()
        .zip(files)
        .map(|(names, (_, bytes))| FileToCreate { names: names.as_slice(), source: ByteSource::Bytes(bytes) })
        .collect();
    create_files(fs, &mut new_files, mode)
}

/// The mode of a directory whose files have `mode`: a user who may read may also search.
fn dir_mode(mode: u32) -> u32 {
    mode | 0o700 | ((mode & 0o444) >> 2)
}

/// Creates files in existing directories; otherwise as [`create_many`]. Names appear in the order given.
///
/// # Errors
/// As [`create_many`]. Temporary files given as sources may or may not be there then; they must not be given again, because
/// their bytes may be lost.
pub fn create_files(fs: &dyn Fs, files: &mut [FileToCreate<'_>], mode: u32) -> io::Result<Vec<CreateOutcome>> {
    let few = files.len() <= MAX_SINGLE_SYNCS;
    let dirs: BTreeSet<&Path> = files.iter().flat_map(|new_file| new_file.names).map(|name| parent(name)).collect();
    let mut batches = batches_of(files);
    if !few {
        // Begun before the first write: a descriptor that is opened later may miss an error.
        batches.push(Arc::new(WriteBatch::begin_beside(fs, written_dirs(files), &batches)?));
    }
    let singly = few || !batches.iter().all(|batch| batch.reports_files());
    let temps = write_temps(fs, files, mode, singly)?;
    for new_file in files.iter_mut() {
        match &mut new_file.source {
            ByteSource::Temp { file: Some(file), .. } if singly => {
                file.sync().map_err(|error| context("sync", first(new_file.names), error))?;
            }
            _ => {}
        }
    }
    // Without a descriptor only the whole mount can be synced.
    let closed = |new_file: &FileToCreate<'_>| matches!(new_file.source, ByteSource::Temp { file: None, .. });
    if !few || files.iter().any(closed) {
        batches.iter().try_for_each(|batch| batch.sync())?;
    }

    let mut outcomes = Vec::with_capacity(files.len());
    for (new_file, temp) in files.iter_mut().zip(temps) {
        let (outcome, kept) = match (&mut new_file.source, &temp) {
            (ByteSource::Temp { path, file, .. }, _) => {
                *file = None;
                (name_all(fs, path, new_file.names, None)?, Some(*path))
            }
            (ByteSource::Bytes(bytes), Some(temp)) => (name_all(fs, temp.path(), new_file.names, Some(bytes))?, None),
            (ByteSource::Bytes(_), None) => {
                return Err(io::Error::other("a file of the batch was not written"));
            }
        };
        drop(temp);
        if let Some(path) = kept {
            // A remaining temporary name is garbage, not a failure.
            let _ = remove_file_if_there(fs, path);
        }
        outcomes.push(outcome);
    }
    sync_dirs(fs, &dirs)?;
    Ok(outcomes)
}

fn first(names: &[PathBuf]) -> &Path {
    names.first().map_or(Path::new(""), PathBuf::as_path)
}

/// The batches with which the temporary files were written.
fn batches_of(files: &[FileToCreate<'_>]) -> Vec<Arc<WriteBatch>> {
    let mut batches: Vec<Arc<WriteBatch>> = Vec::new();
    for new_file in files {
        if let ByteSource::Temp { batch, .. } = &new_file.source
            && !batches.iter().any(|known| Arc::ptr_eq(known, batch))
        {
            batches.push(Arc::clone(batch));
        }
    }
    batches
}

/// The directories into which files from memory are written.
fn written_dirs<'a>(files: &'a [FileToCreate<'_>]) -> BTreeSet<&'a Path> {
    let from_memory = |new_file: &&FileToCreate<'_>| matches!(new_file.source, ByteSource::Bytes(_));
    files.iter().filter(from_memory).map(|new_file| parent(first(new_file.names))).collect()
}

/// One temporary file per new file from memory, in its first name's directory.
fn write_temps<'f>(
    fs: &'f dyn Fs,
    files: &[FileToCreate<'_>],
    mode: u32,
    singly: bool,
) -> io::Result<Vec<Option<TempFile<'f>>>> {
    let mut temps = Vec::with_capacity(files.len());
    for new_file in files {
        temps.push(match (&new_file.source, new_file.names.first()) {
            (ByteSource::Bytes(bytes), Some(name)) => {
                let mut temp = TempFile::new(fs, parent(name), mode)?;
                temp.write_bytes(bytes)?;
                if singly {
                    temp.sync()?;
                }
                // A batch may hold more files than a process may have descriptors.
                temp.close();
                Some(temp)
            }
            (ByteSource::Bytes(_), None) => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "a file of the batch has no name"));
            }
            (ByteSource::Temp { .. }, _) => None,
        });
    }
    Ok(temps)
}

fn name_all(fs: &dyn Fs, temp: &Path, names: &[PathBuf], bytes: Option<&[u8]>) -> io::Result<CreateOutcome> {
    let mut worst = CreateOutcome::SameBytes;
    for name in names {
        let outcome = name_one(fs, temp, name, bytes)?;
        worst = match (worst, outcome) {
            (CreateOutcome::Conflict, _) | (_, CreateOutcome::Conflict) => CreateOutcome::Conflict,
            (CreateOutcome::Created, _) | (_, CreateOutcome::Created) => CreateOutcome::Created,
            _ => CreateOutcome::SameBytes,
        };
    }
    Ok(worst)
}

fn name_one(fs: &dyn Fs, temp: &Path, name: &Path, bytes: Option<&[u8]>) -> io::Result<CreateOutcome> {
    let mut tries = 0;
    loop {
        if link_new(fs, temp, name)? {
            return Ok(CreateOutcome::Created);
        }
        let same = match bytes {
            Some(mut bytes) => {
                let len = bytes.len() as u64;
                holds(fs, name, len, &mut bytes)
            }
            None => fs.open(temp).and_then(|mut ours| {
                let len = ours.stat()?.len;
                holds(fs, name, len, &mut ours)
            }),
        };
        let outcome = match same {
            Ok(true) => refresh(fs, temp, name).map(|()| CreateOutcome::SameBytes),
            Ok(false) => Ok(CreateOutcome::Conflict),
            Err(error) => Err(error),
        };
        match outcome {
            // Retention has deleted the old file in this moment: the name is free.
            Err(error) if error.kind() == ErrorKind::NotFound && tries < 2 => tries += 1,
            outcome => return outcome.map_err(|error| context("compare", name, error)),
        }
    }
}

/// Makes an existing file as new as one made by this call, so that retention by age does not delete it.
fn refresh(fs: &dyn Fs, temp: &Path, name: &Path) -> io::Result<()> {
    let made = fs.stat(temp)?.mtime;
    if fs.stat(name)?.mtime >= made {
        return Ok(());
    }
    match fs.set_mtime(name, made) {
        // Another user's file: only that user's retention deletes it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}
