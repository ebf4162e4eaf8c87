//! The copy of a drop: each file is opened without following links and read once, while it is hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;

use durable_fs::{Fs, durable};
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier};

use super::changed::ChangedWhileRead;
use super::not_taken::{NotTaken, drop_read_failed, own_dir_failed};
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

/// Copies the drop at `source` into `dest`, which is created, and checks it. Nothing is synced. `beat` is called between two
/// reads and returns whether to continue.
///
/// # Errors
/// [`NotTaken`], which says whose fault it is.
pub fn copy_drop(
    fs: &dyn Fs,
    source: &Path,
    dest: &Path,
    limits: &BatchLimits,
    beat: &dyn Fn() -> bool,
) -> Result<DropContents, NotTaken> {
    let found = walk(fs, source, limits)?;
    if found.paths.is_empty() {
        return Err(RejectReason::NoFiles.into());
    }
    let manifest = if found.manifest { Some(read_manifest(fs, source)?) } else { None };
    make_dirs(fs, dest, &found.paths).map_err(own_dir_failed)?;
    let mut copier = HashingCopier::new();
    let mut files = Vec::with_capacity(found.paths.len());
    let mut links = HardLinks::new();
    for path in found.paths {
        files.push(copy_file(fs, source, dest, path, &mut copier, &mut links, beat)?);
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

fn read_manifest(fs: &dyn Fs, source: &Path) -> Result<Manifest, NotTaken> {
    let failed = |error| drop_read_failed(fs, source, &source.join(MANIFEST), MANIFEST, error);
    let file = fs.open_beneath(source, Path::new(MANIFEST)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLong.into());
    }
    Ok(Manifest::parse(&bytes)?)
}

fn make_dirs(fs: &dyn Fs, dest: &Path, files: &[String]) -> io::Result<()> {
    durable::make_dir(fs, dest, SHARED_DIR_MODE)?;
    let mut made = BTreeSet::new();
    for path in files {
        for (at, _) in path.match_indices('/') {
            if made.insert(&path[..at]) {
                durable::make_dir(fs, &dest.join(&path[..at]), SHARED_DIR_MODE)?;
            }
        }
    }
    Ok(())
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

fn copy_file(
    fs: &dyn Fs,
    source: &Path,
    dest: &Path,
    path: String,
    copier: &mut HashingCopier,
    links: &mut HardLinks,
    beat: &dyn Fn() -> bool,
) -> Result<StagedFile, NotTaken> {
    let failed = |error| drop_read_failed(fs, source, &source.join(&path), &path, error);
    let mut from = fs.open_beneath(source, Path::new(&path)).map_err(failed)?;
    let stat = from.stat().map_err(failed)?;
    let expected = stat.len;
    if stat.nlink > 1 {
        let first = || Linked { path: path.clone(), links: stat.nlink, in_drop: 0 };
        links.entry(stat.id).or_insert_with(first).in_drop += 1;
    }
    let mut to = fs.create_new(&dest.join(&path), SHARED_FILE_MODE).map_err(own_dir_failed)?;
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
    Ok(StagedFile { path, sha256, len })
}
