//! The wait for `tuf_receipt_X.json`.

use std::io;
use std::path::Path;
use std::time::Duration;

use durable_fs::{Fs, durable};
use monitor_worker::drop_dir::{DropName, PROCESSING, READY};
use monitor_worker::receipt::{DropOutcome, Receipt};
use tokio::time::{Instant, sleep};

use super::write::PostedDrop;
use crate::error::CliError;

const SHORTEST_POLL_INTERVAL: Duration = Duration::from_millis(2);
const LONGEST_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The poll interval is this fraction of the time waited so far, which bounds the relative delay of the answer.
const POLL_FRACTION: u32 = 16;

/// The receipt, if any, that an earlier drop of the same name left behind. It is not the answer to the new drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierReceipt(Option<FileIdentity>);

/// Device and inode, seconds and nanoseconds of the last change. Every receipt is a new file, so these differ.
type FileIdentity = ((u64, u64), i64, u32);

impl EarlierReceipt {
    /// Looks for a receipt in the drop directory. Call it before the drop is handed over.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn look(fs: &dyn Fs, post: &Path, name: &DropName) -> Result<Self, CliError> {
        let path = post.join(name.receipt_file());
        identity(fs, &path).map(Self).map_err(|error| CliError::reading(&path, error))
    }
}

fn identity(fs: &dyn Fs, path: &Path) -> io::Result<Option<FileIdentity>> {
    Ok(durable::stat_if_there(fs, path)?.map(|stat| (stat.id, stat.mtime, stat.mtime_nanos)))
}

/// The result of the wait for a receipt.
#[derive(Clone, Debug)]
pub enum ReceiptWait {
    /// The receipt of this drop.
    Received(Box<Receipt>),
    /// No receipt came in time.
    TimedOut {
        /// Whether the fleet has taken the drop in: it is no longer `tuf_ready_X`.
        taken_in: bool,
    },
}

/// Waits at most `deadline` for the receipt of `posted`: one newer than `earlier` with the drop's digest, or a rejection
/// without a digest, which the monitor writes when it rejects a drop before it has read all of it.
///
/// # Errors
/// When the drop directory cannot be read.
pub async fn await_receipt(
    fs: &dyn Fs,
    post: &Path,
    name: &DropName,
    posted: &PostedDrop,
    earlier: &EarlierReceipt,
    deadline: Duration,
) -> Result<ReceiptWait, CliError> {
    let path = post.join(name.receipt_file());
    let start = Instant::now();
    let mut answer = None;
    loop {
        // First the directory, then the receipt: the monitor writes the receipt before the directory disappears.
        let gone = is_gone(fs, post, name);
        let new = identity(fs, &path).map_err(|error| CliError::reading(&path, error))? != earlier.0;
        if answer.is_none() && (new || gone) {
            match Receipt::read(fs, &path) {
                Ok(receipt) if is_answer(&receipt, posted, new) => answer = Some(Box::new(receipt)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::reading(&path, error)),
            }
        }
        let waited = start.elapsed();
        let left = deadline.saturating_sub(waited);
        match answer {
            // A rejection counts once the files are in `tuf_rejected_X`: only then is the name free again.
            Some(receipt) if gone || receipt.outcome == DropOutcome::Published || left.is_zero() => {
                return Ok(ReceiptWait::Received(receipt));
            }
            None if left.is_zero() => {
                let ready = durable::stat_if_there(fs, &post.join(format!("{READY}{name}")));
                return Ok(ReceiptWait::TimedOut { taken_in: ready.is_ok_and(|found| found.is_none()) });
            }
            waiting => answer = waiting,
        }
        sleep((waited / POLL_FRACTION).clamp(SHORTEST_POLL_INTERVAL, LONGEST_POLL_INTERVAL).min(left)).await;
    }
}

fn is_answer(receipt: &Receipt, posted: &PostedDrop, new: bool) -> bool {
    match (&receipt.digest, receipt.outcome) {
        (Some(digest), DropOutcome::Published) => *digest == posted.digest,
        (Some(digest), DropOutcome::Rejected) => new && *digest == posted.digest,
        (None, DropOutcome::Rejected) => new,
        (None, DropOutcome::Published) => false,
    }
}

fn is_gone(fs: &dyn Fs, post: &Path, name: &DropName) -> bool {
    let absent = |dir: &str| durable::stat_if_there(fs, &post.join(dir)).is_ok_and(|found| found.is_none());
    absent(&format!("{READY}{name}")) && absent(&format!("{PROCESSING}{name}"))
}
