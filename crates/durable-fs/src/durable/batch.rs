//! Many files created at once, with few syncs.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{TempFile, context, create_dir_all, link_new, parent, remove_file_if_there, sync_all, sync_dir};
use crate::{FileKind, Fs, WriteFile};

/// Up to this many files (or directories) are synced one by one; beyond, one `syncfs` is cheaper.
const SYNCED_SINGLY: usize = 4;
const COMPARE_BUFFER: usize = 64 * 1024;

/// What became of a file of a batch; of several names the worst: `Conflict` before `Created` before `SameBytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Created by this call.
    Created,
    /// It was there with exactly these bytes, and its name is durable now; its modification time is no older than if it
    /// had been created by this call (unless it is another owner's).
    SameBytes,
    /// The name holds other bytes, or is not a regular file; it was not touched.
    Conflict,
}

/// Where the bytes of a new file come from.
pub enum Source<'a> {
    /// Memory.
    Bytes(&'a [u8]),
    /// A temporary file on the same mount, which loses its temporary name; its descriptor, if it is still open.
    Temp(&'a Path, Option<Box<dyn WriteFile>>),
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Temp(path, _) => f.debug_tuple("Temp").field(path).finish(),
        }
    }
}

/// A file to be created under one or more names (links to one file), whose directories exist.
#[derive(Debug)]
pub struct Part<'a> {
    /// The names.
    pub names: &'a [PathBuf],
    /// The bytes.
    pub source: Source<'a>,
}

/// Creates files below `dir` from relative names, which may have sub-directories (made when missing): all data is
/// durable before the first name appears, all names are when it returns. Nothing is overwritten.
///
/// # Errors
/// Whatever the file system said; any subset of the files may exist then. Safe to repeat.
pub fn create_many(fs: &dyn Fs, dir: &Path, files: &[(&str, &[u8])], mode: u32) -> io::Result<Vec<Outcome>> {
    let names: Vec<[PathBuf; 1]> = files.iter().map(|(name, _)| [dir.join(name)]).collect();
    let dirs: BTreeSet<&Path> = names.iter().map(|[name]| parent(name)).collect();
    for below in dirs {
        if below != dir {
            create_dir_all(fs, below, dir_mode(mode))?;
        }
    }
    let mut parts: Vec<Part<'_>> = names
        .iter()
        .zip(files)
        .map(|(names, (_, bytes))| Part { names: names.as_slice(), source: Source::Bytes(bytes) })
        .collect();
    create_parts(fs, &mut parts, mode)
}

/// The mode of a directory whose files have `mode`: who may read may also search.
fn dir_mode(mode: u32) -> u32 {
    mode | 0o700 | ((mode & 0o444) >> 2)
}

/// Creates files in directories that exist; otherwise as [`create_many`]. Names appear in the order given.
///
/// # Errors
/// As [`create_many`]. Temporary files given as sources may or may not be there then.
pub fn create_parts(fs: &dyn Fs, parts: &mut [Part<'_>], mode: u32) -> io::Result<Vec<Outcome>> {
    let singly = parts.len() <= SYNCED_SINGLY;
    let temps = write_temps(fs, parts, mode, singly)?;
    let dirs: BTreeSet<&Path> = parts.iter().flat_map(|part| part.names).map(|name| parent(name)).collect();
    let mut unsynced: BTreeSet<&Path> = BTreeSet::new();
    for part in parts.iter_mut() {
        match &mut part.source {
            Source::Temp(_, Some(file)) if singly => {
                let synced = file.sync();
                synced.map_err(|error| context("sync", first(part.names), error))?;
            }
            // Without a descriptor only the whole mount can be synced.
            Source::Temp(path, _) => drop(unsynced.insert(parent(path))),
            Source::Bytes(_) if singly => {}
            Source::Bytes(_) => unsynced.extend(part.names.first().map(|name| parent(name))),
        }
    }
    sync_mounts(fs, &unsynced)?;

    let mut outcomes = Vec::with_capacity(parts.len());
    for (part, temp) in parts.iter_mut().zip(temps) {
        let (outcome, kept) = match (&mut part.source, &temp) {
            (Source::Temp(path, file), _) => {
                *file = None;
                (name_all(fs, path, part.names, None)?, Some(*path))
            }
            (Source::Bytes(bytes), Some(temp)) => (name_all(fs, temp.path(), part.names, Some(bytes))?, None),
            (Source::Bytes(_), None) => {
                return Err(io::Error::other("a file of the batch was not written"));
            }
        };
        drop(temp);
        if let Some(path) = kept {
            // A second name left behind is garbage, not a failure.
            let _ = remove_file_if_there(fs, path);
        }
        outcomes.push(outcome);
    }
    sync_dirs(fs, &dirs)?;
    Ok(outcomes)
}

/// Makes the names in `dirs` durable: directory by directory if they are few, else by [`sync_mounts`].
///
/// # Errors
/// Whatever the file system said.
pub fn sync_dirs(fs: &dyn Fs, dirs: &BTreeSet<&Path>) -> io::Result<()> {
    if dirs.len() <= SYNCED_SINGLY { dirs.iter().try_for_each(|dir| sync_dir(fs, dir)) } else { sync_mounts(fs, dirs) }
}

fn first(names: &[PathBuf]) -> &Path {
    names.first().map_or(Path::new(""), PathBuf::as_path)
}

/// One temporary file per part that comes from memory, in its first name's directory.
fn write_temps<'f>(
    fs: &'f dyn Fs,
    parts: &[Part<'_>],
    mode: u32,
    singly: bool,
) -> io::Result<Vec<Option<TempFile<'f>>>> {
    let mut temps = Vec::with_capacity(parts.len());
    for part in parts {
        temps.push(match (&part.source, part.names.first()) {
            (Source::Bytes(bytes), Some(name)) => {
                let mut temp = TempFile::new(fs, parent(name), mode)?;
                temp.write_bytes(bytes)?;
                if singly {
                    temp.sync()?;
                }
                // A batch may hold more files than a process may have descriptors.
                temp.close();
                Some(temp)
            }
            (Source::Bytes(_), None) => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "a file of the batch has no name"));
            }
            (Source::Temp(..), _) => None,
        });
    }
    Ok(temps)
}

/// One `syncfs` for each mount that holds one of `dirs`.
///
/// # Errors
/// Whatever the file system said.
pub fn sync_mounts(fs: &dyn Fs, dirs: &BTreeSet<&Path>) -> io::Result<()> {
    let mut mounts = BTreeSet::new();
    for dir in dirs {
        // `dir/.` is the directory even where the last component is a link.
        let stat = fs.stat(&dir.join(".")).map_err(|error| context("stat", dir, error))?;
        if mounts.insert(stat.id.0) {
            sync_all(fs, dir)?;
        }
    }
    Ok(())
}

fn name_all(fs: &dyn Fs, temp: &Path, names: &[PathBuf], bytes: Option<&[u8]>) -> io::Result<Outcome> {
    let mut worst = Outcome::SameBytes;
    for name in names {
        let outcome = name_one(fs, temp, name, bytes)?;
        worst = match (worst, outcome) {
            (Outcome::Conflict, _) | (_, Outcome::Conflict) => Outcome::Conflict,
            (Outcome::Created, _) | (_, Outcome::Created) => Outcome::Created,
            _ => Outcome::SameBytes,
        };
    }
    Ok(worst)
}

fn name_one(fs: &dyn Fs, temp: &Path, name: &Path, bytes: Option<&[u8]>) -> io::Result<Outcome> {
    let mut tries = 0;
    loop {
        if link_new(fs, temp, name)? {
            return Ok(Outcome::Created);
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
            Ok(true) => refresh(fs, temp, name).map(|()| Outcome::SameBytes),
            Ok(false) => Ok(Outcome::Conflict),
            Err(error) => Err(error),
        };
        match outcome {
            // Collected for its age in this very moment: the name is free for ours.
            Err(error) if error.kind() == ErrorKind::NotFound && tries < 2 => tries += 1,
            outcome => return outcome.map_err(|error| context("compare", name, error)),
        }
    }
}

/// A file that is found instead of made counts as new from now on, so that whoever collects by age leaves it to us.
fn refresh(fs: &dyn Fs, temp: &Path, name: &Path) -> io::Result<()> {
    let made = fs.stat(temp)?.mtime;
    if fs.stat(name)?.mtime >= made {
        return Ok(());
    }
    match fs.set_mtime(name, made) {
        // Another owner's, which nobody collects but that owner.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Whether `path` is a regular file with exactly the bytes of `expected`, `len` of them.
fn holds(fs: &dyn Fs, path: &Path, len: u64, expected: &mut dyn Read) -> io::Result<bool> {
    let stat = fs.stat(path)?;
    if stat.kind != FileKind::File || stat.len != len {
        return Ok(false);
    }
    let mut theirs = fs.open(path)?;
    let (mut ours_buffer, mut theirs_buffer) = (vec![0; COMPARE_BUFFER], vec![0; COMPARE_BUFFER]);
    loop {
        let ours = fill(expected, &mut ours_buffer)?;
        let held = fill(&mut theirs, &mut theirs_buffer)?;
        if ours_buffer.get(..ours) != theirs_buffer.get(..held) {
            return Ok(false);
        }
        if ours == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
