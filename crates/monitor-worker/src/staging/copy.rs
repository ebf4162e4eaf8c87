//! The copy of a drop: each file is opened without following links and read once, while it is hashed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;

use durable_fs::durable::{self, WriteBatch};
use durable_fs::{Dir, Fs};
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier};

use super::changed::{ChangedWhileRead, DropEntry};
use super::not_taken::{NotTaken, drop_read_failed, own_dir_failed};
use super::open_drop::{open_below, open_drop};
use super::staged_file::{StagedFile, digest_of};
use super::walk::walk;
use crate::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, ManifestError};
use crate::rejection::RejectReason;
use crate::settings::BatchLimits;

/// Mode of the files made for the targets-worker, which shares the group.
const SHARED_FILE_MODE: u32 = 0o664;
/// Mode of the directories made for the targets-worker, which shares the group.
pub const SHARED_DIR_MODE: u32 = 0o775;

/// The contents of a drop that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropContents {
    /// Digest of the file list, hex: SHA-256 over `<sha256> <length> <path>\n`, sorted by path.
    pub digest: String,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The place of a copy.
#[derive(Clone, Copy)]
pub struct CopyTarget<'a> {
    /// The open staging directory.
    pub staging: &'a dyn Dir,
    /// The name in it, which is created.
    pub name: &'a OsStr,
    /// Began before anything was written to the staging directory; it syncs the copy.
    pub batch: &'a WriteBatch,
}

impl fmt::Debug for CopyTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyTarget").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Copies the drop that was listed as the directory `id` at `source`, and checks it. Nothing is synced. `beat` is called
/// between two reads and returns whether to continue.
///
/// # Errors
/// [`NotTaken`], which says whose fault it is.
pub fn copy_drop(
    fs: &dyn Fs,
    source: &Path,
    id: (u64, u64),
    target: &CopyTarget<'_>,
    limits: &BatchLimits,
    beat: &dyn Fn() -> bool,
) -> Result<DropContents, NotTaken> {
    let source = open_drop(fs, source, id)?;
    let found = walk(source.as_ref(), limits)?;
    if found.paths.is_empty() {
        return Err(RejectReason::NoFiles.into());
    }
    let manifest = if found.manifest { Some(read_manifest(source.as_ref())?) } else { None };
    let copy = make_dir(target.staging, target.name)?;
    let mut dirs = OpenDirs { top: OpenPair { from: source, to: copy }, below: Vec::new() };
    let mut copier = HashingCopier::new();
    let mut files = Vec::with_capacity(found.paths.len());
    let mut links = HardLinks::new();
    for path in found.paths {
        files.push(copy_file(&mut dirs, path, &mut copier, &mut links, target.batch, beat)?);
    }
    if let Some(linked) = links.into_values().find(|linked| linked.links > linked.in_drop) {
        let Linked { path, links, in_drop } = linked;
        return Err(RejectReason::LinkedElsewhere { path, links, in_drop }.into());
    }
    if let Some(manifest) = manifest {
        manifest.check(&files)?;
    }
    Ok(DropContents { digest: digest_of(&files), files: files.len() as u64, bytes: files.iter().map(|f| f.len).sum() })
}

fn read_manifest(source: &dyn Dir) -> Result<Manifest, NotTaken> {
    let name = OsStr::new(MANIFEST);
    let failed = |error| drop_read_failed(|| source.stat_of(name), DropEntry::Below(MANIFEST.to_owned()), error);
    let file = source.open_file(name).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLong.into());
    }
    Ok(Manifest::parse(&bytes)?)
}

/// Makes a directory of our own and opens it.
fn make_dir(above: &dyn Dir, name: &OsStr) -> Result<Box<dyn Dir>, NotTaken> {
    durable::make_dir_in(above, name, SHARED_DIR_MODE).and_then(|_| above.open_dir(name)).map_err(own_dir_failed)
}

/// A file with several hard links.
struct Linked {
    /// The first path at which it was met.
    path: String,
    /// How many links it has.
    links: u64,
    /// How many of them were met in the drop.
    in_drop: u64,
}

/// Files with several hard links, by device and inode.
type HardLinks = BTreeMap<(u64, u64), Linked>;

/// A directory of the drop and its copy.
struct OpenPair {
    from: Box<dyn Dir>,
    to: Box<dyn Dir>,
}

/// The open directories on the way to a file.
struct OpenDirs {
    top: OpenPair,
    /// Each below the one before it, with its name.
    below: Vec<(String, OpenPair)>,
}

impl OpenDirs {
    /// Opens the directory of a file, and makes its copy. The files come sorted, so each directory is entered once.
    fn enter(&mut self, dir: &str) -> Result<&OpenPair, NotTaken> {
        let components: Vec<&str> = dir.split('/').filter(|component| !component.is_empty()).collect();
        let common = components.iter().zip(&self.below).take_while(|(name, (open, _))| **name == open.as_str()).count();
        self.below.truncate(common);
        for (at, component) in components.iter().enumerate().skip(common) {
            let above = self.below.last().map_or(&self.top, |(_, open)| open);
            let name = OsStr::new(component);
            let from = open_below(above.from.as_ref(), name, &components[..=at].join("/"))?;
            let to = make_dir(above.to.as_ref(), name)?;
            self.below.push(((*component).to_owned(), OpenPair { from, to }));
        }
        Ok(self.below.last().map_or(&self.top, |(_, open)| open))
    }
}

fn copy_file(
    dirs: &mut OpenDirs,
    path: String,
    copier: &mut HashingCopier,
    links: &mut HardLinks,
    batch: &WriteBatch,
    beat: &dyn Fn() -> bool,
) -> Result<StagedFile, NotTaken> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let (open, name) = (dirs.enter(dir)?, OsStr::new(name));
    let failed = |error| drop_read_failed(|| open.from.stat_of(name), DropEntry::Below(path.clone()), error);
    let mut from = open.from.open_file(name).map_err(failed)?;
    let stat = from.stat().map_err(failed)?;
    let expected = stat.len;
    // An empty file has no piece to be copied.
    if !beat() {
        return Err(NotTaken::Stopping);
    }
    if stat.nlink > 1 {
        let first = || Linked { path: path.clone(), links: stat.nlink, in_drop: 0 };
        links.entry(stat.id).or_insert_with(first).in_drop += 1;
    }
    let mut to = open.to.create_file(name, SHARED_FILE_MODE).map_err(own_dir_failed)?;
    let copied = copier.copy(&mut from, expected, |piece| {
        if !beat() {
            return Err(NotTaken::Stopping);
        }
        to.write_all(piece).map_err(own_dir_failed)
    });
    let FileDigest { length: len, sha256 } = match copied {
        Ok(digest) => digest,
        Err(CopyError::TooLong { .. }) => return Err(ChangedWhileRead::Grew { path }.into()),
        Err(CopyError::Read(error)) => return Err(failed(error)),
        Err(CopyError::Write(not_taken)) => return Err(not_taken),
    };
    if len != expected {
        return Err(ChangedWhileRead::Shrank { path }.into());
    }
    batch.close(to).map_err(own_dir_failed)?;
    Ok(StagedFile { path, sha256, len })
}
