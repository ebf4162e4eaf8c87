//! Writing a drop: `tuf_tmp_X`, every byte and name durable, then the rename that hands it over.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use durable_fs::{Fs, durable};
use indicatif::ProgressBar;
use monitor_worker::drop_dir::{DropName, PROCESSING, READY};
use monitor_worker::manifest::MANIFEST;
use monitor_worker::staging::{StagedFile, drop_digest};
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier, Sha256};

use super::{Content, Item};
use crate::error::CliError;

/// Prefix of a directory that is still being filled.
const TMP: &str = "tuf_tmp_";
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;
/// Up to this many files are synced one by one; beyond, one `syncfs` is cheaper.
const SYNC_SINGLY: usize = 16;

/// A drop that was handed over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Posted {
    /// Its name.
    pub name: String,
    /// The digest of its file list, with the name its identity; the receipt has it.
    pub digest: String,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where it was put.
    pub path: PathBuf,
}

/// Hands `items`, sorted by path, over as the drop `name`. When it returns, the drop survives a power cut. `before_rename`
/// is the last moment at which the fleet does not know of it.
///
/// # Errors
/// Nothing was handed over then, and what was copied is removed again as far as possible; only when the rename itself
/// could not be made durable is the drop there, as the message says.
pub fn post<T>(
    fs: &dyn Fs,
    post: &Path,
    name: &DropName,
    items: Vec<Item>,
    manifest: bool,
    bar: &ProgressBar,
    before_rename: impl FnOnce() -> Result<T, CliError>,
) -> Result<(Posted, T), CliError> {
    let (tmp, ready) = (post.join(format!("{TMP}{name}")), post.join(format!("{READY}{name}")));
    for taken in [&ready, &post.join(format!("{PROCESSING}{name}"))] {
        if let Ok(Some(_)) = durable::stat_if_there(fs, taken) {
            return Err(CliError::usage(format!("a drop of that name is waiting: {}", taken.display()))
                .hint("choose another --name, or wait until it is taken in"));
        }
    }
    match durable::make_dir(fs, &tmp, DIR_MODE) {
        Ok(true) => {}
        Ok(false) => {
            return Err(CliError::usage(format!("somebody is filling a drop of that name: {}", tmp.display()))
                .hint("choose another --name, or remove the directory if its producer died"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CliError::usage(format!("there is no drop directory {}", post.display()))
                .hint("set post_to_tuf_path to where the drop directory is mounted (--set, RUGGED_POST_TO_TUF_PATH or the file)"));
        }
        Err(error) => return Err(CliError::writing(&tmp, &error)),
    }
    let filled = fill(fs, &tmp, items, manifest, bar).and_then(|files| Ok((files, before_rename()?)));
    let (files, before) = filled.inspect_err(|_| discard(fs, &tmp))?;
    match durable::rename_dir(fs, &tmp, &ready) {
        Ok(true) => {}
        Ok(false) => {
            discard(fs, &tmp);
            return Err(CliError::usage(format!("a drop of that name is waiting: {}", ready.display())));
        }
        Err(error) => {
            discard(fs, &tmp);
            return Err(CliError::writing(&ready, &error));
        }
    }
    durable::sync_dir(fs, post).map_err(|error| {
        CliError::infrastructure(format!("{} is posted, and may not survive a power cut: {error}", ready.display()))
    })?;
    let posted = Posted {
        name: name.as_str().to_owned(),
        digest: drop_digest(&files),
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.len).sum(),
        path: ready,
    };
    Ok((posted, before))
}

fn fill(
    fs: &dyn Fs,
    tmp: &Path,
    items: Vec<Item>,
    manifest: bool,
    bar: &ProgressBar,
) -> Result<Vec<StagedFile>, CliError> {
    let singly = items.len() <= SYNC_SINGLY;
    let brings_manifest = items.iter().any(|item| item.path == MANIFEST);
    let dirs = make_dirs(fs, tmp, &items)?;
    let mut copier = HashingCopier::new();
    let mut files = Vec::with_capacity(items.len());
    for item in items {
        let file = copy(fs, tmp, item, singly, &mut copier, bar)?;
        // The manifest is checked by the monitor and is not a target.
        if file.path != MANIFEST {
            files.push(file);
        }
    }
    if manifest && !brings_manifest {
        let item = Item { path: MANIFEST.to_owned(), content: Content::Bytes(manifest_of(&files)) };
        copy(fs, tmp, item, singly, &mut copier, &ProgressBar::hidden())?;
    }
    if singly {
        for dir in dirs.iter().rev() {
            durable::sync_dir(fs, dir).map_err(|error| CliError::writing(dir, &error))?;
        }
        durable::sync_dir(fs, tmp).map_err(|error| CliError::writing(tmp, &error))?;
    } else {
        durable::sync_all(fs, tmp).map_err(|error| CliError::writing(tmp, &error))?;
    }
    Ok(files)
}

fn make_dirs(fs: &dyn Fs, tmp: &Path, items: &[Item]) -> Result<BTreeSet<PathBuf>, CliError> {
    let mut made = BTreeSet::new();
    for item in items {
        for (at, _) in item.path.match_indices('/') {
            let dir = tmp.join(&item.path[..at]);
            if !made.contains(&dir) {
                durable::make_dir(fs, &dir, DIR_MODE).map_err(|error| CliError::writing(&dir, &error))?;
                made.insert(dir);
            }
        }
    }
    Ok(made)
}

fn copy(
    fs: &dyn Fs,
    tmp: &Path,
    item: Item,
    sync: bool,
    copier: &mut HashingCopier,
    bar: &ProgressBar,
) -> Result<StagedFile, CliError> {
    let to = tmp.join(&item.path);
    let writing = |error| CliError::writing(&to, &error);
    let mut out = fs.create_new(&to, FILE_MODE).map_err(writing)?;
    let mut take = |bytes: &[u8]| {
        bar.inc(bytes.len() as u64);
        out.write_all(bytes)
    };
    let FileDigest { length: len, sha256 } = match &item.content {
        Content::Bytes(bytes) => {
            take(bytes).map_err(writing)?;
            FileDigest { length: bytes.len() as u64, sha256: Sha256::of(bytes) }
        }
        Content::File(from, _) => {
            let reading = |error| CliError::reading(from, &error);
            let mut file = fs.open(from).map_err(reading)?;
            copier.copy(&mut file, u64::MAX, take).map_err(|error| match error {
                CopyError::Read(error) => reading(error),
                CopyError::Write(error) => writing(error),
                CopyError::TooLong { .. } => reading(io::ErrorKind::FileTooLarge.into()),
            })?
        }
    };
    if sync {
        out.sync().map_err(writing)?;
    }
    Ok(StagedFile { path: item.path, sha256, len })
}

/// As `sha256sum` writes it. Target paths hold no character that would have to be escaped.
fn manifest_of(files: &[StagedFile]) -> Vec<u8> {
    let mut text = String::new();
    for file in files {
        let _ = writeln!(text, "{}  {}", file.sha256, file.path);
    }
    text.into_bytes()
}

fn discard(fs: &dyn Fs, tmp: &Path) {
    // What stays behind is named like a drop being filled, which nobody takes.
    let _ = durable::remove_tree(fs, tmp);
}
