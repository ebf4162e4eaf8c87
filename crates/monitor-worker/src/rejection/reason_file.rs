//! `REASON.json`: why a drop was rejected, inside the rejected directory.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use durable_fs::{Dir, Fs, durable};
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
pub fn is_ours(dir: &dyn Dir) -> bool {
    let read = durable::read_bounded_in(dir, OsStr::new(REASON_FILE), MAX_REASON_BYTES);
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
    // Held open: its producer may put a link in its place, to have a file replaced elsewhere.
    let (dir, name) = (fs.open_dir(dir)?, OsStr::new(REASON_FILE));
    if dir.stat_of(name).is_ok() && !is_ours(dir.as_ref()) {
        return Ok(());
    }
    // Written beside the drop and renamed into it whole: half a file would look like one of the drop's own.
    let new = durable::temp_path(post);
    let written = fs.create_new(&new, 0o644).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync()
    });
    if let Err(e) = written.and_then(|()| rename_into(fs, &new, dir.as_ref(), name)) {
        // A temporary file that stays behind is collected by age.
        let _ = fs.remove_file(&new);
        return Err(e);
    }
    dir.sync()
}

/// Renames `new` to `name` in an open directory. As with [`durable::rename_over`], the reply may be lost.
fn rename_into(fs: &dyn Fs, new: &Path, dir: &dyn Dir, name: &OsStr) -> io::Result<()> {
    let ours = fs.stat(new)?.id;
    match dir.rename_here(new, name) {
        Err(_) if dir.stat_of(name).is_ok_and(|there| there.id == ours) => Ok(()),
        other => other,
    }
}
