//! `REASON.json`: why a drop was rejected, inside the rejected directory.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};

use crate::drop_dir::{DropName, REJECTED};
use crate::receipt::Receipt;

/// Name of the file in a rejected directory. A producer that renames the directory back to `tuf_ready_*` may leave it
/// there: the monitor's own `REASON.json` is never a target.
pub const REASON_FILE: &str = "REASON.json";

const MAX_REASON_BYTES: u64 = 1 << 20;
const FORMAT: &str = "tuf-fleet-rejection-1";
/// How many directories of one name may be rejected and left lying.
const MAX_SAME_NAME: u32 = 10_000;

#[derive(Debug, Serialize, Deserialize)]
struct Reason {
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
    read.is_ok_and(|bytes| serde_json::from_slice::<Reason>(&bytes).is_ok_and(|r| r.format == FORMAT))
}

/// Writes `REASON.json` into `dir`, a directory of `post`, durably. A file of that name which belongs to the drop is left alone.
///
/// # Errors
/// Whatever the file system said; the caller goes on, because the receipt holds the reason as well.
pub fn write_reason(fs: &dyn Fs, post: &Path, dir: &Path, receipt: &Receipt) -> io::Result<()> {
    let reason = Reason {
        format: FORMAT.to_owned(),
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
    // Written beside the drop and moved in whole: half a file could not be told from one of the drop's own.
    let new = durable::temp_path(post);
    let written = fs.create_new(&new, 0o644).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync()
    });
    if let Err(e) = written.and_then(|()| durable::rename_over(fs, &new, &path)) {
        // What stays behind is collected by age.
        let _ = fs.remove_file(&new);
        return Err(e);
    }
    fs.sync_dir(dir)
}

/// Renames the directory `from` to `tuf_rejected_X`, or `.2`, `.3` and so on if that is taken. `None`: it is gone, somebody
/// else finished it.
///
/// # Errors
/// Whatever the file system said.
pub fn set_aside(fs: &dyn Fs, post: &Path, from: &Path, name: &DropName) -> io::Result<Option<OsString>> {
    for number in 1..=MAX_SAME_NAME {
        let to = if number == 1 { format!("{REJECTED}{name}") } else { format!("{REJECTED}{name}.{number}") };
        // An empty directory would be replaced silently, so look first; the rename still decides.
        if durable::stat_if_there(fs, &post.join(&to))?.is_some() {
            continue;
        }
        match durable::rename_dir(fs, from, &post.join(&to)) {
            Ok(true) => return Ok(Some(to.into())),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("too many rejected directories named {name}")))
}
