//! `REASON.json`: why a drop was rejected, inside the rejected directory.

use std::io::{self, Write};
use std::path::Path;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};

use crate::receipt::Receipt;

/// Name of the file in a rejected directory. A producer that renames the directory back to `tuf_ready_*` may leave it
/// there: the monitor's own `REASON.json` is never a target.
pub const REASON_FILE: &str = "REASON.json";

const MAX_REASON_BYTES: u64 = 1 << 20;
const REASON_FORMAT: &str = "tuf-fleet-rejection-1";

#[derive(Debug, Serialize, Deserialize)]
struct ReasonFile {
    format: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    reason: String,
    rejected_at: String,
}

/// Whether the `REASON.json` in `dir` was written by a monitor.
pub fn is_ours(fs: &dyn Fs, dir: &Path) -> bool {
    let read = durable::read_bounded(fs, &dir.join(REASON_FILE), MAX_REASON_BYTES);
    read.is_ok_and(|bytes| serde_json::from_slice::<ReasonFile>(&bytes).is_ok_and(|file| file.format == REASON_FORMAT))
}

/// Writes `REASON.json` into `dir`, a directory of `post`, durably. A file of that name which belongs to the drop is left
/// alone.
///
/// # Errors
/// The error from the file system. The caller continues, because the receipt holds the reason as well.
pub fn write_reason(fs: &dyn Fs, post: &Path, dir: &Path, receipt: &Receipt) -> io::Result<()> {
    let reason = ReasonFile {
        format: REASON_FORMAT.to_owned(),
        name: receipt.name.clone(),
        digest: receipt.digest.clone(),
        reason: receipt.reason.clone().unwrap_or_default(),
        rejected_at: receipt.finished_at.clone(),
    };
    let mut bytes = serde_json::to_vec_pretty(&reason)?;
    bytes.push(b'\n');
    let path = dir.join(REASON_FILE);
    if durable::stat_if_there(fs, &path)?.is_some() && !is_ours(fs, dir) {
        return Ok(());
    }
    // Written beside the drop and renamed into it whole: half a file would look like one of the drop's own.
    let new = durable::temp_path(post);
    let written = fs.create_new(&new, 0o644).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync()
    });
    if let Err(e) = written.and_then(|()| durable::rename_over(fs, &new, &path)) {
        // A temporary file that stays behind is collected by age.
        let _ = fs.remove_file(&new);
        return Err(e);
    }
    fs.sync_dir(dir)
}
