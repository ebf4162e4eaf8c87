//! The receipt as it is written.

use std::io;
use std::path::Path;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};

use crate::drop_dir::DropName;
use crate::rejection::RejectReason;
use crate::stored_format;

/// The version of a receipt that is written.
pub const RECEIPT_FORMAT: u64 = 1;
/// Longest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: u64 = 1 << 20;

/// How a drop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropOutcome {
    /// Every client can verify and download its targets.
    Published,
    /// Nothing in it was published; `reason` says why.
    Rejected,
}

/// How a drop ended, and with which versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Format version, [`RECEIPT_FORMAT`].
    pub format: u64,
    /// The drop's name (`X` of `tuf_ready_X`).
    pub name: String,
    /// Digest of its file list, hex; absent if the drop was rejected before it was read to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it ended.
    pub outcome: DropOutcome,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many of its files became targets.
    #[serde(default)]
    pub targets: u64,
    /// The commit record that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// The snapshot that clients were served when it ended; it covers `record`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<u64>,
    /// The timestamp that clients were served when it ended; it names the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_version: Option<u64>,
    /// Id of its batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Which post of the drop it is for; only in the private state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// When it ended, `YYYY-MM-DDTHH:MM:SSZ`.
    pub finished_at: String,
}

impl Receipt {
    /// The receipt of a rejected drop.
    pub fn rejected(name: &DropName, digest: Option<String>, reason: &RejectReason, finished_at: String) -> Self {
        Self {
            format: RECEIPT_FORMAT,
            name: name.as_str().to_owned(),
            digest,
            outcome: DropOutcome::Rejected,
            reason: Some(reason.to_string()),
            targets: 0,
            record: None,
            snapshot_version: None,
            timestamp_version: None,
            batch: None,
            post: None,
            finished_at,
        }
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// `InvalidData` when it is malformed; `Unsupported` when a newer version wrote it; else the error from the file system.
    pub fn read(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let bytes = durable::read_bounded(fs, path, MAX_RECEIPT_BYTES)?;
        Ok(stored_format::parse(&bytes, RECEIPT_FORMAT)?)
    }

    /// The receipt as it is written: indented JSON, one line feed at the end.
    ///
    /// # Errors
    /// The error from the serializer, which a receipt does not cause.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
