//! Receipts: what became of a drop, for its producer and for the monitor itself.
//!
//! In the private state, `receipts/X.DIGEST16.json` remembers every drop that ended, and `rejections/X.json` is the
//! journal of a rejection whose directory is not yet renamed. In the drop directory, `tuf_receipt_X.json` is for the
//! producer; a later drop of the same name replaces it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs, durable};
use serde::{Deserialize, Serialize};

use crate::drop_dir::{DropName, RECEIPT};

/// The version of a receipt that is written.
pub const FORMAT: u64 = 1;
/// Longest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: u64 = 1 << 20;
/// Up to this many files are synced one by one; more are synced with one `syncfs`.
const SYNC_SINGLY: usize = 2;
/// How often something of the same name is set aside.
const MAX_ASIDE: u32 = 100;
const STATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// How a drop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every client can verify and download its targets.
    Published,
    /// Nothing of it was published; `reason` says why.
    Rejected,
}

/// What became of a drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Format version, [`FORMAT`].
    pub format: u64,
    /// The drop's name (`X` of `tuf_ready_X`).
    pub name: String,
    /// Digest of its file list, hex; absent when it was rejected before all of it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many of its files became targets.
    #[serde(default)]
    pub targets: u64,
    /// The commit record that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Snapshot version with which it was published, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<u64>,
    /// Timestamp version with which it was published, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_version: Option<u64>,
    /// Id of the batch it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// When it ended, `YYYY-MM-DDTHH:MM:SSZ`.
    pub finished_at: String,
}

impl Receipt {
    /// A receipt for a rejected drop.
    pub fn rejected(name: &DropName, digest: Option<String>, reason: String, finished_at: String) -> Self {
        Self {
            format: FORMAT,
            name: name.as_str().to_owned(),
            digest,
            outcome: Outcome::Rejected,
            reason: Some(reason),
            targets: 0,
            record: None,
            snapshot_version: None,
            timestamp_version: None,
            batch: None,
            finished_at,
        }
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// `InvalidData` when it is none; `Unsupported` when a newer version wrote it; whatever the file system said.
    pub fn read(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let bytes = durable::read_bounded(fs, path, MAX_RECEIPT_BYTES)?;
        crate::format::check(&bytes, FORMAT)?;
        serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// The receipt as it is written: indented JSON, one line feed at the end.
    ///
    /// # Errors
    /// Never in practice; whatever the serializer said.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The monitor's own memory of how drops ended.
#[derive(Clone, Debug)]
pub struct StateReceipts {
    receipts: PathBuf,
    rejections: PathBuf,
}

impl StateReceipts {
    /// Receipts below `state`; the directories are made.
    ///
    /// # Errors
    /// Whatever the file system said.
    pub fn open(fs: &dyn Fs, state: &Path) -> io::Result<Self> {
        let this = Self { receipts: state.join("receipts"), rejections: state.join("rejections") };
        durable::create_dir_all(fs, &this.receipts, 0o700)?;
        durable::create_dir_all(fs, &this.rejections, 0o700)?;
        Ok(this)
    }

    /// The directory of receipts, for retention.
    pub fn dir(&self) -> &Path {
        &self.receipts
    }

    /// The receipt with which this very drop was published. One that cannot be read counts as none: the drop then goes
    /// the whole way again, and the targets-worker finds it in its records.
    ///
    /// # Errors
    /// Whatever the file system said, other than that there is none.
    pub fn published(&self, fs: &dyn Fs, name: &DropName, digest: &str) -> io::Result<Option<Receipt>> {
        let read = read_if_any(fs, &self.receipts.join(file_name(name.as_str(), Some(digest))))?;
        Ok(read.filter(|r| {
            r.outcome == Outcome::Published && r.name == name.as_str() && r.digest.as_deref() == Some(digest)
        }))
    }

    /// Remembers published drops, durably.
    ///
    /// # Errors
    /// Whatever the file system said.
    pub fn store_published(&self, fs: &dyn Fs, receipts: &[Receipt]) -> io::Result<()> {
        let mut files = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            files.push((file_name(&receipt.name, receipt.digest.as_deref()), receipt.to_bytes()?));
        }
        write_files(fs, &self.receipts, &files, STATE_MODE, &|new, name| durable::rename_over(fs, new, name))
    }

    /// Notes durably that these drops are rejected, before anybody is told.
    ///
    /// # Errors
    /// Whatever the file system said.
    pub fn store_rejections(&self, fs: &dyn Fs, receipts: &[Receipt]) -> io::Result<()> {
        let mut files = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            files.push((format!("{}.json", receipt.name), receipt.to_bytes()?));
        }
        write_files(fs, &self.rejections, &files, STATE_MODE, &|new, name| durable::rename_over(fs, new, name))
    }

    /// The rejections noted and not yet finished.
    ///
    /// # Errors
    /// Whatever the file system said.
    pub fn rejections(&self, fs: &dyn Fs) -> io::Result<Vec<Receipt>> {
        let mut found = Vec::new();
        for entry in fs.read_dir(&self.rejections)? {
            let Some(name) = entry.name.to_str() else {
                continue;
            };
            if durable::is_temp_name(&entry.name) || !name.ends_with(".json") {
                continue;
            }
            found.extend(read_if_any(fs, &self.rejections.join(name))?);
        }
        Ok(found)
    }

    /// Moves a finished rejection from the journal to the receipts. Call it only once the directory's new name is durable.
    ///
    /// # Errors
    /// Whatever the file system said, other than that it is gone already.
    pub fn finish_rejection(&self, fs: &dyn Fs, receipt: &Receipt) -> io::Result<()> {
        let from = self.rejections.join(format!("{}.json", receipt.name));
        let to = self.receipts.join(file_name(&receipt.name, receipt.digest.as_deref()));
        match durable::rename_over(fs, &from, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Makes the end of the journal's entries durable.
    ///
    /// # Errors
    /// Whatever the file system said.
    pub fn sync_rejections(&self, fs: &dyn Fs) -> io::Result<()> {
        fs.sync_dir(&self.rejections)
    }
}

/// Writes the receipts for the producers into the drop directory, durably, each replacing an older one of its name. What a
/// producer put in the place of a receipt is set aside; if that fails too, the drop ends without a public receipt, because
/// nobody else may wait for that.
///
/// # Errors
/// Whatever the file system said.
pub fn write_public(fs: &dyn Fs, post: &Path, receipts: &[Receipt]) -> io::Result<()> {
    let mut files = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        files.push((format!("{RECEIPT}{}.json", receipt.name), receipt.to_bytes()?));
    }
    write_files(fs, post, &files, PUBLIC_MODE, &|new, name| {
        match durable::rename_over(fs, new, name) {
            Err(_) if is_taken(fs, new, name) => {}
            other => return other,
        }
        let renamed = set_aside(fs, name).and_then(|aside| {
            tracing::warn!("{} was in the place of a receipt and is now {}", name.display(), aside.display());
            durable::rename_over(fs, new, name)
        });
        if let Err(error) = renamed {
            tracing::error!("{} cannot be written, and its drop ends without: {error}", name.display());
            // What stays behind is collected by age.
            let _ = fs.remove_file(new);
        }
        Ok(())
    })
}

/// Whether `name` cannot be replaced by our file `new` because of what has it: no file, or somebody else's.
fn is_taken(fs: &dyn Fs, new: &Path, name: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (fs.stat(new), fs.stat(name)) else { return false };
    theirs.kind != FileKind::File || theirs.uid != ours.uid
}

/// Gives what has a name another one.
fn set_aside(fs: &dyn Fs, name: &Path) -> io::Result<PathBuf> {
    for number in 1..=MAX_ASIDE {
        let aside = name.with_extension(format!("json.{number}"));
        if durable::stat_if_there(fs, &aside)?.is_none() && durable::rename_dir(fs, name, &aside)? {
            return Ok(aside);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} was set aside too often", name.display())))
}

fn file_name(name: &str, digest: Option<&str>) -> String {
    match digest.and_then(|d| d.get(..16)) {
        Some(digest) => format!("{name}.{digest}.json"),
        None => format!("{name}.unread.json"),
    }
}

/// One that a newer version wrote is an error: what it says must not be forgotten.
fn read_if_any(fs: &dyn Fs, path: &Path) -> io::Result<Option<Receipt>> {
    match Receipt::read(fs, path) {
        Ok(receipt) => Ok(Some(receipt)),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {
            Err(io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), error = %e, "receipt cannot be read and is ignored");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Writes `(name, bytes)` into `dir`, each whole or not at all, and returns when all are durable. `rename` gives a file that
/// is written its name. The number of syncs does not depend on the number of files.
fn write_files(
    fs: &dyn Fs,
    dir: &Path,
    files: &[(String, Vec<u8>)],
    mode: u32,
    rename: &dyn Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let singly = files.len() <= SYNC_SINGLY;
    let mut renames = Vec::with_capacity(files.len());
    let written = files.iter().try_for_each(|(name, bytes)| {
        let new = durable::temp_path(dir);
        let mut file = fs.create_new(&new, mode)?;
        renames.push((new, dir.join(name)));
        file.write_all(bytes)?;
        if singly { file.sync() } else { Ok(()) }
    });
    let written = match written {
        Ok(()) if !singly => fs.sync_all(dir),
        other => other,
    };
    if let Err(e) = written {
        for (new, _) in renames {
            // What stays behind is collected by age.
            let _ = fs.remove_file(&new);
        }
        return Err(e);
    }
    for (new, name) in renames {
        rename(&new, &name)?;
    }
    fs.sync_dir(dir)
}
