//! Waiting for `tuf_receipt_X.json`.

use std::io;
use std::path::Path;
use std::time::Duration;

use durable_fs::{Fs, durable};
use monitor_worker::drop_dir::{DropName, PROCESSING, READY};
use monitor_worker::receipt::{DropOutcome as Outcome, Receipt};
use tokio::time::{Instant, sleep};

use super::Posted;
use crate::error::CliError;

const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A pause is this part of the time waited so far, so that the answer is seen late by as much at most.
const PART: u32 = 16;

/// Which receipt of that name was there before the drop was handed over: an older drop's, not the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before(Option<Identity>);

/// Every receipt is a new file, so device, inode and time of change tell two apart.
type Identity = ((u64, u64), i64, u32);

impl Before {
    /// Looks at the drop directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(fs: &dyn Fs, post: &Path, name: &DropName) -> Result<Self, CliError> {
        let path = post.join(name.receipt_file());
        identity(fs, &path).map(Self).map_err(|error| CliError::reading(&path, &error))
    }
}

fn identity(fs: &dyn Fs, path: &Path) -> io::Result<Option<Identity>> {
    Ok(durable::stat_if_there(fs, path)?.map(|stat| (stat.id, stat.mtime, stat.mtime_nanos)))
}

/// What waiting came to.
#[derive(Clone, Debug)]
pub enum Awaited {
    /// The receipt of this drop.
    Receipt(Box<Receipt>),
    /// None in time. Whether the fleet has taken the drop in.
    Timeout {
        /// It is no longer `tuf_ready_X`.
        taken: bool,
    },
}

/// Waits until the receipt of `posted` is there: one written since `before` with its digest, or a rejection before all of
/// the drop was read, which has none.
///
/// # Errors
/// When the drop directory cannot be read.
pub async fn await_receipt(
    fs: &dyn Fs,
    post: &Path,
    name: &DropName,
    posted: &Posted,
    before: &Before,
    deadline: Duration,
) -> Result<Awaited, CliError> {
    let path = post.join(name.receipt_file());
    let start = Instant::now();
    let mut answer = None;
    loop {
        // Whether it is gone is asked first: a receipt is written before the directory goes.
        let gone = is_gone(fs, post, name);
        let new = identity(fs, &path).map_err(|error| CliError::reading(&path, &error))? != before.0;
        if answer.is_none() && (new || gone) {
            match Receipt::read(fs, &path) {
                Ok(receipt) if is_answer(&receipt, posted, new) => answer = Some(Box::new(receipt)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::reading(&path, &error)),
            }
        }
        let waited = start.elapsed();
        let left = deadline.saturating_sub(waited);
        match answer {
            // A rejected drop is worth knowing of once its files are in `tuf_rejected_X`: its name is free again then.
            Some(receipt) if gone || receipt.outcome == Outcome::Published || left.is_zero() => {
                return Ok(Awaited::Receipt(receipt));
            }
            None if left.is_zero() => {
                let ready = durable::stat_if_there(fs, &post.join(format!("{READY}{name}")));
                return Ok(Awaited::Timeout { taken: ready.is_ok_and(|found| found.is_none()) });
            }
            waiting => answer = waiting,
        }
        sleep((waited / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE).min(left)).await;
    }
}

fn is_answer(receipt: &Receipt, posted: &Posted, new: bool) -> bool {
    match (&receipt.digest, receipt.outcome) {
        (Some(digest), Outcome::Published) => *digest == posted.digest,
        (Some(digest), Outcome::Rejected) => new && *digest == posted.digest,
        (None, Outcome::Rejected) => new,
        (None, Outcome::Published) => false,
    }
}

fn is_gone(fs: &dyn Fs, post: &Path, name: &DropName) -> bool {
    let absent = |dir: &str| durable::stat_if_there(fs, &post.join(dir)).is_ok_and(|found| found.is_none());
    absent(&format!("{READY}{name}")) && absent(&format!("{PROCESSING}{name}"))
}
