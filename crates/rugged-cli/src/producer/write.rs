//! Writing a drop: fill `tuf_tmp_X`, make every byte and name durable, then rename to `tuf_ready_X`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use durable_fs::durable::{self, WriteBatch};
use durable_fs::{Dir, Fs, ReadFile};
use indicatif::ProgressBar;
use monitor_worker::drop_dir::{DropName, PROCESSING, READY, UNFINISHED};
use monitor_worker::manifest::MANIFEST;
use monitor_worker::staging::{StagedFile, digest_of};
use tuf_core::sha256::{CopyError, FileDigest, HashingCopier, Sha256};

use super::drop_item::{DropItem, ItemContent};
use crate::error::CliError;

const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;
/// Most files that are synced one by one; for more, one `syncfs` is cheaper.
const MAX_SINGLE_SYNCS: usize = 16;

/// A drop that was handed over to the fleet.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PostedDrop {
    /// Its name.
    pub name: String,
    /// The digest of its file list. Name and digest identify the drop; the receipt repeats both.
    pub digest: String,
    /// The number of its files.
    pub files: u64,
    /// The size of its files in bytes.
    pub bytes: u64,
    /// Its path after the rename.
    pub path: PathBuf,
    /// Device and inode of its directory, which stay as it is renamed.
    #[serde(skip)]
    pub(super) id: Option<(u64, u64)>,
}

/// Hands `items`, sorted by path, over as the drop `name`. When it returns, the drop survives a power cut. `before_rename`
/// runs last before the fleet can see the drop; its result is returned.
///
/// # Errors
/// After an error nothing is handed over, and the copied files are removed as far as possible. One case is different:
/// when the rename could not be made durable, the drop is posted, and the message says so.
pub fn post<T>(
    fs: &dyn Fs,
    post: &Path,
    name: &DropName,
    items: Vec<DropItem>,
    manifest: bool,
    bar: &ProgressBar,
    before_rename: impl FnOnce() -> Result<T, CliError>,
) -> Result<(PostedDrop, T), CliError> {
    let (tmp, ready) = (post.join(format!("{UNFINISHED}{name}")), post.join(format!("{READY}{name}")));
    for taken in [&ready, &post.join(format!("{PROCESSING}{name}"))] {
        if let Ok(Some(_)) = durable::stat_if_there(fs, taken) {
            return Err(CliError::invalid_input(format!(
                "a drop named {name} is already waiting: {}",
                taken.display()
            ))
            .hint("choose another --name, or wait until the monitor has taken that drop in"));
        }
    }
    match durable::make_dir(fs, &tmp, DIR_MODE) {
        Ok(true) => {}
        Ok(false) => {
            return Err(CliError::invalid_input(format!(
                "another producer is filling a drop named {name}: {}",
                tmp.display()
            ))
            .hint("choose another --name, or remove the directory if that producer is gone"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CliError::invalid_input(format!("the drop directory {} does not exist", post.display())).hint(
                "set post_to_tuf_path (--set, RUGGED_POST_TO_TUF_PATH or the configuration file) to its mount point",
            ));
        }
        Err(error) => return Err(CliError::writing(&tmp, error)),
    }
    let filled = fill(fs, &tmp, items, manifest, bar).and_then(|files| Ok((files, before_rename()?)));
    let (files, before) = filled.inspect_err(|_| discard(fs, &tmp))?;
    let id = fs.stat(&tmp).ok().map(|stat| stat.id);
    match durable::rename_dir(fs, &tmp, &ready) {
        Ok(true) => {}
        Ok(false) => {
            discard(fs, &tmp);
            return Err(CliError::invalid_input(format!(
                "a drop named {name} is already waiting: {}",
                ready.display()
            ))
            .hint("choose another --name, or wait until the monitor has taken that drop in"));
        }
        Err(error) => {
            discard(fs, &tmp);
            return Err(CliError::writing(&ready, error));
        }
    }
    durable::sync_dir(fs, post).map_err(|error| {
        CliError::local_failure(error).during(format!(
            "{} is posted, but may not survive a power cut: cannot sync {}",
            ready.display(),
            post.display()
        ))
    })?;
    let posted = PostedDrop {
        name: name.as_str().to_owned(),
        digest: digest_of(&files),
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.len).sum(),
        path: ready,
        id,
    };
    Ok((posted, before))
}

fn fill(
    fs: &dyn Fs,
    tmp: &Path,
    items: Vec<DropItem>,
    manifest: bool,
    bar: &ProgressBar,
) -> Result<Vec<StagedFile>, CliError> {
    let brings_manifest = items.iter().any(|item| item.path == MANIFEST);
    let mut drop = OpenDrop::new(fs, tmp, items.len())?;
    let mut copier = HashingCopier::new();
    let mut files = Vec::with_capacity(items.len());
    for item in items {
        let file = drop.copy(fs, item, &mut copier, bar)?;
        // The monitor checks the manifest; it does not become a target.
        if file.path != MANIFEST {
            files.push(file);
        }
    }
    if manifest && !brings_manifest {
        let item = DropItem { path: MANIFEST.to_owned(), content: ItemContent::Bytes(manifest_of(&files)) };
        drop.copy(fs, item, &mut copier, &ProgressBar::hidden())?;
    }
    drop.sync()?;
    Ok(files)
}

/// The drop while it is filled. Other producers can write to the drop directory too, so each of its directories is made in
/// an open one and held open while it is filled; no link that is put in its place is followed.
struct OpenDrop<'a> {
    path: &'a Path,
    top: Box<dyn Dir>,
    /// The open directories on the way to the last file, each below the one before it, with their names.
    below: Vec<(String, Box<dyn Dir>)>,
    /// Syncs all files, if they are many. It begins before the first write.
    batch: Option<WriteBatch>,
}

impl<'a> OpenDrop<'a> {
    fn new(fs: &dyn Fs, path: &'a Path, files: usize) -> Result<Self, CliError> {
        let writing = |error| CliError::writing(path, error);
        let batch = match files {
            0..=MAX_SINGLE_SYNCS => None,
            _ => Some(WriteBatch::begin(fs, [path]).map_err(writing)?),
        };
        Ok(Self { path, top: fs.open_dir(path).map_err(writing)?, below: Vec::new(), batch })
    }

    /// Makes and opens the directory `dir` of the drop. The files come sorted, so each is opened once.
    fn enter(&mut self, dir: &str) -> Result<&dyn Dir, CliError> {
        let components: Vec<&str> = dir.split('/').filter(|component| !component.is_empty()).collect();
        let common = components.iter().zip(&self.below).take_while(|(name, (open, _))| **name == open.as_str()).count();
        self.leave(common)?;
        for (at, component) in components.iter().enumerate().skip(common) {
            let above = self.below.last().map_or(&self.top, |(_, open)| open);
            let name = OsStr::new(component);
            let made = durable::make_dir_in(above.as_ref(), name, DIR_MODE).and_then(|_| above.open_dir(name));
            let open = made.map_err(|error| CliError::writing(&self.path.join(components[..=at].join("/")), error))?;
            self.below.push(((*component).to_owned(), open));
        }
        Ok(self.below.last().map_or(&self.top, |(_, open)| open).as_ref())
    }

    /// Closes all open directories but the first `depth`. The names in them become durable, unless the batch syncs them.
    fn leave(&mut self, depth: usize) -> Result<(), CliError> {
        while self.below.len() > depth {
            let Some((name, open)) = self.below.pop() else { break };
            if self.batch.is_none() {
                open.sync().map_err(|error| CliError::writing(&self.path.join(name), error))?;
            }
        }
        Ok(())
    }

    fn copy(
        &mut self,
        fs: &dyn Fs,
        item: DropItem,
        copier: &mut HashingCopier,
        bar: &ProgressBar,
    ) -> Result<StagedFile, CliError> {
        let to = self.path.join(&item.path);
        let writing = |error| CliError::writing(&to, error);
        let (dir, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        let mut out = self.enter(dir)?.create_file(OsStr::new(name), FILE_MODE).map_err(writing)?;
        let mut take = |bytes: &[u8]| {
            bar.inc(bytes.len() as u64);
            out.write_all(bytes)
        };
        let mut copy = |opened: io::Result<Box<dyn ReadFile>>, from: &Path| {
            let reading = |error| CliError::reading(from, error);
            let mut file = opened.map_err(reading)?;
            copier.copy(&mut file, u64::MAX, &mut take).map_err(|error| match error {
                CopyError::Read(error) => reading(error),
                CopyError::Write(error) => writing(error),
                CopyError::TooLong { .. } => reading(io::ErrorKind::FileTooLarge.into()),
            })
        };
        let FileDigest { length: len, sha256 } = match &item.content {
            ItemContent::File(from, _) => copy(fs.open(from), from)?,
            ItemContent::Below(top, _) => copy(fs.open_beneath(top, Path::new(&item.path)), &top.join(&item.path))?,
            ItemContent::Bytes(bytes) => {
                take(bytes).map_err(writing)?;
                FileDigest { length: bytes.len() as u64, sha256: Sha256::of(bytes) }
            }
        };
        match &self.batch {
            Some(batch) => batch.close(out).map_err(writing)?,
            None => out.sync().map_err(writing)?,
        }
        Ok(StagedFile { path: item.path, sha256, len })
    }

    /// Makes all of it durable.
    fn sync(mut self) -> Result<(), CliError> {
        self.leave(0)?;
        let synced = match &self.batch {
            Some(batch) => batch.sync(),
            None => self.top.sync(),
        };
        synced.map_err(|error| CliError::writing(self.path, error))
    }
}

/// The manifest, in the format of `sha256sum`. Target paths hold no character that the format escapes.
fn manifest_of(files: &[StagedFile]) -> Vec<u8> {
    let mut text = String::new();
    for file in files {
        let _ = writeln!(text, "{}  {}", file.sha256, file.path);
    }
    text.into_bytes()
}

fn discard(fs: &dyn Fs, tmp: &Path) {
    // Remains keep the name of a drop being filled, which the monitor never takes in.
    let _ = durable::remove_tree(fs, tmp);
}
