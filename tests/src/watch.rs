//! Somebody who looks at the repository all the time and remembers what was there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::Fleet;

const POLL: Duration = Duration::from_millis(5);

/// What a file was when it was last looked at.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    /// Nanoseconds since the Unix epoch.
    mtime: i64,
    bytes: Vec<u8>,
}

/// Watches the versioned names of metadata and commit log, and the served timestamp, until [`Watch::end`].
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize, String>>,
}

impl Watch {
    /// Starts watching.
    #[must_use]
    pub fn start(fleet: &Fleet) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, directories) = (Arc::clone(&stop), [fleet.metadata(), fleet.records()]);
        let thread = thread::spawn(move || {
            let (mut seen, mut highest) = (BTreeMap::new(), 0);
            while !until.load(Ordering::Relaxed) {
                for directory in &directories {
                    look(directory, &mut seen)?;
                }
                highest = served(&directories[0], highest)?;
                thread::sleep(POLL);
            }
            Ok(seen.len())
        });
        Self { stop, thread }
    }

    /// Stops watching; returns how many versioned files were seen.
    ///
    /// # Panics
    ///
    /// If a versioned file was replaced or changed, or the served timestamp went back.
    #[track_caller]
    pub fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(Ok(files)) => files,
            Ok(Err(problem)) => panic!("{problem}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Every versioned name is, if it is still there, the file it was.
fn look(directory: &Path, seen: &mut BTreeMap<PathBuf, Seen>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let versioned = name.trim_start_matches('.').split('.').next().is_some_and(|n| n.parse::<u64>().is_ok());
        // Gone between listing and looking: retention may do that.
        let (true, Ok(stat)) = (versioned, entry.metadata()) else { continue };
        let (inode, length, mtime) = (stat.ino(), stat.size(), stat.mtime() * 1_000_000_000 + stat.mtime_nsec());
        let before = seen.get(&entry.path());
        if before.is_some_and(|before| (before.inode, before.length, before.mtime) == (inode, length, mtime)) {
            continue;
        }
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        let now = Seen { inode, length, mtime, bytes };
        // A writer that finds its very bytes there makes the file young again, so that it is not collected under it.
        if let Some(before) = before
            && (before.inode, before.length, &before.bytes) != (inode, length, &now.bytes)
        {
            return Err(format!("{name} was {before:?} and is {now:?}"));
        }
        if let Some(before) = seen.insert(entry.path(), now)
            && before.mtime > mtime
        {
            return Err(format!("{name} was made older"));
        }
    }
    Ok(())
}

fn served(metadata: &Path, highest: u64) -> Result<u64, String> {
    let Ok(bytes) = fs::read(metadata.join("timestamp.json")) else { return Ok(highest) };
    let timestamp: Value = serde_json::from_slice(&bytes).map_err(|error| format!("timestamp.json: {error}"))?;
    match timestamp["signed"]["version"].as_u64() {
        Some(version) if version >= highest => Ok(version),
        version => Err(format!("the served timestamp went from {highest} to {version:?}")),
    }
}
