//! The receipts in the private state, and the journal of rejections.

use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{Fs, durable};

use super::format::{DropOutcome, Receipt};
use super::write_files::write_files;
use crate::drop_dir::DropName;

const STATE_MODE: u32 = 0o600;

/// A receipt that a newer version wrote.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct NewerReceipt {
    path: PathBuf,
    source: io::Error,
}

/// The monitor's own receipts.
#[derive(Clone, Debug)]
pub struct StateReceipts {
    receipts: PathBuf,
    rejections: PathBuf,
}

impl StateReceipts {
    /// Opens the receipts below `state`; missing directories are created.
    ///
    /// # Errors
    /// The error from the file system.
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

    /// The receipt of this post of a drop, if it was published with this digest: an interrupted process had only to give its
    /// directory its last name. The receipt of an earlier post says nothing about this one, because other files may be served by
    /// now. A malformed receipt counts as none: the drop is then processed again, and the targets-worker finds it in its records.
    ///
    /// # Errors
    /// The error from the file system; a missing receipt is no error.
    pub fn published(&self, fs: &dyn Fs, name: &DropName, digest: &str, post: &str) -> io::Result<Option<Receipt>> {
        let read = read_if_any(fs, &self.receipts.join(file_name(name.as_str(), Some(digest))))?;
        Ok(read.filter(|r| {
            r.outcome == DropOutcome::Published
                && r.name == name.as_str()
                && r.digest.as_deref() == Some(digest)
                && r.post.as_deref() == Some(post)
        }))
    }

    /// Stores the receipts of published drops, durably.
    ///
    /// # Errors
    /// The error from the file system.
    pub fn store_published(&self, fs: &dyn Fs, receipts: &[Receipt]) -> io::Result<()> {
        let mut files = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            files.push((file_name(&receipt.name, receipt.digest.as_deref()), receipt.to_bytes()?));
        }
        write_files(fs, &self.receipts, &files, STATE_MODE, &|new, name| durable::rename_over(fs, new, name))
    }

    /// Notes durably that these drops are rejected, before their producers can read it.
    ///
    /// # Errors
    /// The error from the file system.
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
    /// The error from the file system.
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
    /// The error from the file system; a receipt that was moved already is no error.
    pub fn finish_rejection(&self, fs: &dyn Fs, receipt: &Receipt) -> io::Result<()> {
        let from = self.rejections.join(format!("{}.json", receipt.name));
        let to = self.receipts.join(file_name(&receipt.name, receipt.digest.as_deref()));
        match durable::rename_over(fs, &from, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Makes the removal of finished rejections from the journal durable.
    ///
    /// # Errors
    /// The error from the file system.
    pub fn sync_rejections(&self, fs: &dyn Fs) -> io::Result<()> {
        fs.sync_dir(&self.rejections)
    }
}

fn file_name(name: &str, digest: Option<&str>) -> String {
    match digest.and_then(|d| d.get(..16)) {
        Some(digest) => format!("{name}.{digest}.json"),
        None => format!("{name}.unread.json"),
    }
}

/// The receipt at `path`, if any. One that a newer version wrote is an error: its contents must not be lost.
fn read_if_any(fs: &dyn Fs, path: &Path) -> io::Result<Option<Receipt>> {
    match Receipt::read(fs, path) {
        Ok(receipt) => Ok(Some(receipt)),
        Err(source) if source.kind() == io::ErrorKind::Unsupported => {
            Err(io::Error::new(source.kind(), NewerReceipt { path: path.to_owned(), source }))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), error = %e, "malformed receipt ignored");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}
