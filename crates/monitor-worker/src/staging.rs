//! Taking the files of a drop in: walked without following links, copied once while hashing, checked.
//!
//! Faults of the producer (a link, a bad name, a manifest that does not match) reject the drop. Faults of the machine
//! never do: those met while reading the drop hold it back, those met in our own directories fail the cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs, durable};
use tuf_core::names::TargetPath;
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier, Sha256, Sha256Hasher};
use tuf_core::store::MAX_FILE_NAME_BYTES;

use crate::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest};
use crate::reject;
use crate::settings::Limits;

const MAX_DEPTH: usize = 64;
/// Longest path below a drop: a hash goes in front of it, and the directories it is copied to are above it. What is longer
/// would fail there, as if the machine were at fault.
const MAX_PATH_BYTES: usize = MAX_FILE_NAME_BYTES - 65;
const FILE_MODE: u32 = 0o664;
/// Mode of the directories made for the targets-worker, which shares the group.
pub const DIR_MODE: u32 = 0o775;

/// A file copied into the staging directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Target path: the path below the drop.
    pub path: String,
    /// SHA-256 of the bytes written.
    pub sha256: Sha256,
    /// Their number.
    pub len: u64,
}

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Directories below it.
    pub dirs: u64,
}

/// What came of looking at a drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// It was copied and can be signed.
    Accepted(Contents),
    /// Its producer has to change it.
    Rejected(String),
    /// The machine stands in the way now; it is tried again.
    Held(String),
    /// It changed while it was copied; it is tried again, but not for ever.
    Changing(String),
}

/// What an accepted drop holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Digest of the file list, hex: SHA-256 over `<sha256> <length> <path>\n`, sorted by path.
    pub digest: String,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How much is below `dir`; links and special files do not count. Stops counting above `max_files`.
///
/// # Errors
/// Whatever the file system said.
pub fn measure(fs: &dyn Fs, dir: &Path, max_files: u64) -> io::Result<Size> {
    let mut size = Size::default();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs.read_dir(&dir)? {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::Dir => {
                    size.dirs += 1;
                    todo.push(path);
                }
                FileKind::File => {
                    size.files += 1;
                    size.bytes = size.bytes.saturating_add(fs.stat(&path)?.len);
                }
                FileKind::Symlink | FileKind::Other => {}
            }
            if size.files > max_files || size.dirs > max_files {
                return Ok(size);
            }
        }
    }
    Ok(size)
}

/// Paths of the regular files below `dir`, relative to it, at most about `max_files`; names that are not UTF-8 are left
/// out.
///
/// # Errors
/// Whatever the file system said.
pub fn paths(fs: &dyn Fs, dir: &Path, max_files: u64) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        for entry in fs.read_dir(&dir.join(&below))? {
            let path = below.join(&entry.name);
            match entry.kind {
                FileKind::Dir => todo.push(path),
                FileKind::File => found.extend(path.to_str().map(str::to_owned)),
                FileKind::Symlink | FileKind::Other => {}
            }
            if (found.len() + todo.len()) as u64 > max_files {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Why a drop is not taken, while walking and copying it.
enum Refusal {
    Reject(String),
    Hold(String),
    Changing(String),
    Ours(io::Error),
}

impl From<Refusal> for io::Result<Examined> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Reject(reason) => Ok(Examined::Rejected(reason)),
            Refusal::Hold(reason) => Ok(Examined::Held(reason)),
            Refusal::Changing(reason) => Ok(Examined::Changing(reason)),
            Refusal::Ours(error) => Err(error),
        }
    }
}

/// Copies the drop at `source` into `dest`, which is created, and checks it. Nothing is synced. `beat` is called again
/// and again meanwhile and says whether to go on.
///
/// # Errors
/// Faults in our own directories.
pub fn examine(
    fs: &dyn Fs,
    source: &Path,
    dest: &Path,
    limits: &Limits,
    beat: &dyn Fn() -> bool,
) -> io::Result<Examined> {
    match copy_drop(fs, source, dest, limits, beat) {
        Ok(contents) => Ok(Examined::Accepted(contents)),
        Err(refusal) => refusal.into(),
    }
}

fn copy_drop(
    fs: &dyn Fs,
    source: &Path,
    dest: &Path,
    limits: &Limits,
    beat: &dyn Fn() -> bool,
) -> Result<Contents, Refusal> {
    let found = walk(fs, source, limits)?;
    if found.files.is_empty() {
        return Err(Refusal::Reject("the drop holds no files".to_owned()));
    }
    let manifest = if found.manifest { Some(read_manifest(fs, source)?) } else { None };
    make_dirs(fs, dest, &found.files).map_err(ours)?;
    let mut copier = HashingCopier::new();
    let mut files = Vec::with_capacity(found.files.len());
    let mut links = Links::new();
    for path in found.files {
        files.push(copy_file(fs, source, dest, path, &mut copier, &mut links, beat)?);
    }
    // A second name elsewhere is how a file that was never meant to be released gets into a drop.
    if let Some((path, names, here)) = links.into_values().find(|(_, names, here)| names > here) {
        return Err(Refusal::Reject(format!(
            "{path:?} has {names} hard links, of which {here} are in the drop; release a copy of it"
        )));
    }
    if let Some(manifest) = manifest {
        manifest.check(&files).map_err(Refusal::Reject)?;
    }
    Ok(Contents { digest: drop_digest(&files), files: files.len() as u64, bytes: files.iter().map(|f| f.len).sum() })
}

/// The digest that, with its name, is a drop's identity. `files` are sorted by path.
pub fn drop_digest(files: &[StagedFile]) -> String {
    let mut hasher = Sha256Hasher::new();
    for file in files {
        hasher.update(format!("{} {} {}\n", file.sha256, file.len, file.path).as_bytes());
    }
    hasher.finish().to_string()
}

struct Found {
    /// Sorted by path.
    files: Vec<String>,
    manifest: bool,
}

fn walk(fs: &dyn Fs, source: &Path, limits: &Limits) -> Result<Found, Refusal> {
    let mut found = Found { files: Vec::new(), manifest: false };
    let mut dirs = 0_u64;
    let mut todo = vec![(PathBuf::from(source), String::new(), 0_usize)];
    while let Some((dir, prefix, depth)) = todo.pop() {
        let entries = fs.read_dir(&dir).map_err(|e| theirs(fs, source, &dir, &prefix, &e))?;
        for entry in entries {
            let Some(name) = entry.name.to_str() else {
                let shown = entry.name.to_string_lossy();
                return Err(Refusal::Reject(format!("the name of {:?} is not UTF-8", format!("{prefix}{shown}"))));
            };
            if is_nfs_leftover(name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if let Err(e) = TargetPath::new(&path) {
                return Err(Refusal::Reject(format!("{path:?} {}", e.reason())));
            }
            if path.len() > MAX_PATH_BYTES {
                let shown: String = path.chars().take(80).collect();
                let length = path.len();
                return Err(Refusal::Reject(format!(
                    "the path {shown:?}… has {length} bytes; {MAX_PATH_BYTES} are allowed"
                )));
            }
            match entry.kind {
                FileKind::Dir => {
                    dirs += 1;
                    if depth >= MAX_DEPTH {
                        return Err(Refusal::Reject(format!("{path:?} is more than {MAX_DEPTH} directories deep")));
                    }
                    todo.push((dir.join(name), format!("{path}/"), depth + 1));
                }
                FileKind::File if depth == 0 && name == MANIFEST => found.manifest = true,
                FileKind::File if depth == 0 && name == reject::REASON_FILE && reject::is_ours(fs, &dir) => {}
                FileKind::File => found.files.push(path),
                FileKind::Symlink => {
                    return Err(Refusal::Reject(format!(
                        "{path:?} is a symbolic link; only files and directories are taken"
                    )));
                }
                FileKind::Other => {
                    return Err(Refusal::Reject(format!("{path:?} is neither a file nor a directory")));
                }
            }
            let max = limits.files_per_drop;
            if found.files.len() as u64 > max || dirs > max {
                return Err(Refusal::Reject(format!("the drop holds more than {max} files or directories")));
            }
        }
    }
    found.files.sort_unstable();
    Ok(found)
}

/// What an NFS client leaves in place of a file that was removed while it was open.
fn is_nfs_leftover(name: &str) -> bool {
    name.strip_prefix(".nfs").is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn read_manifest(fs: &dyn Fs, source: &Path) -> Result<Manifest, Refusal> {
    let failed = |e: io::Error| theirs(fs, source, &source.join(MANIFEST), MANIFEST, &e);
    let file = fs.open_beneath(source, Path::new(MANIFEST)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(Refusal::Reject(format!("{MANIFEST} is longer than {MAX_MANIFEST_BYTES} bytes")));
    }
    Manifest::parse(&bytes).map_err(Refusal::Reject)
}

fn make_dirs(fs: &dyn Fs, dest: &Path, files: &[String]) -> io::Result<()> {
    durable::make_dir(fs, dest, DIR_MODE)?;
    let mut made = BTreeSet::new();
    for path in files {
        for (at, _) in path.match_indices('/') {
            if made.insert(&path[..at]) {
                durable::make_dir(fs, &dest.join(&path[..at]), DIR_MODE)?;
            }
        }
    }
    Ok(())
}

/// Files with several names, by their identity: the first path, how many names there are, how many of them were met.
type Links = BTreeMap<(u64, u64), (String, u64, u64)>;

fn copy_file(
    fs: &dyn Fs,
    source: &Path,
    dest: &Path,
    path: String,
    copier: &mut HashingCopier,
    links: &mut Links,
    beat: &dyn Fn() -> bool,
) -> Result<StagedFile, Refusal> {
    let failed = |e: io::Error| theirs(fs, source, &source.join(&path), &path, &e);
    let mut from = fs.open_beneath(source, Path::new(&path)).map_err(failed)?;
    let stat = from.stat().map_err(failed)?;
    let expected = stat.len;
    if stat.nlink > 1 {
        links.entry(stat.id).or_insert_with(|| (path.clone(), stat.nlink, 0)).2 += 1;
    }
    let mut to = fs.create_new(&dest.join(&path), FILE_MODE).map_err(ours)?;
    let copied = copier.copy(&mut from, expected, |piece| {
        if !beat() {
            return Err(Refusal::Ours(io::Error::other("the worker is stopping")));
        }
        to.write_all(piece).map_err(ours)
    });
    let FileDigest { length: len, sha256 } = copied.map_err(|error| match error {
        CopyError::TooLong { .. } => Refusal::Changing(format!("{path:?} was still being written")),
        CopyError::Read(error) => failed(error),
        CopyError::Write(refusal) => refusal,
    })?;
    if len != expected {
        return Err(Refusal::Changing(format!("{path:?} was shortened while it was read")));
    }
    Ok(StagedFile { path, sha256, len })
}

/// A failure in our own directories: a full disk holds the drop back, so that smaller ones pass.
fn ours(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::Hold("no space is left in the inbound directory".to_owned())
        }
        _ => Refusal::Ours(error),
    }
}

/// A failure while reading something of the producer's: whose fault is it?
fn theirs(fs: &dyn Fs, source: &Path, path: &Path, shown: &str, error: &io::Error) -> Refusal {
    const ELOOP: i32 = 40;
    let shown = if path == source { "the drop".to_owned() } else { format!("{:?}", shown.trim_end_matches('/')) };
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::Changing(format!("{shown} vanished while the drop was read")),
        io::ErrorKind::PermissionDenied => {
            let stat = fs.stat(path);
            let needed = if stat.as_ref().is_ok_and(|s| s.kind == FileKind::Dir) { 0o555 } else { 0o444 };
            match stat {
                Ok(stat) if stat.mode & needed != needed => {
                    Refusal::Reject(format!("{shown} cannot be read: its mode is {:04o}", stat.mode & 0o7777))
                }
                _ => Refusal::Hold(format!("{shown} cannot be read: {error}")),
            }
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory | io::ErrorKind::CrossesDevices => {
            Refusal::Reject(format!("{shown} is not a regular file within the drop"))
        }
        _ if error.raw_os_error() == Some(ELOOP) => {
            Refusal::Reject(format!("{shown} is reached through a symbolic link"))
        }
        _ => Refusal::Hold(format!("{shown} cannot be read: {error}")),
    }
}
