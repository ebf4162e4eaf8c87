//! The timestamps and snapshots that a role has found served, in its private directory.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};
use tuf_core::time::UtcTime;

use super::policy::RetentionPolicy;
use super::sweep_progress::SweepProgress;

/// How much longer snapshots are kept than the files that they list, so that each role finds the snapshot of its own
/// horizon.
pub(crate) const SNAPSHOT_MARGIN_SECONDS: i64 = 86_400;
const RETENTION_FORMAT: u32 = 1;
const MAX_RETENTION_BYTES: u64 = 4 << 20;

/// From `time` on clients got the timestamp and snapshot of these versions, or newer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedMark {
    /// Version of the snapshot.
    pub snapshot: u64,
    /// The time.
    pub time: UtcTime,
    /// Version of the timestamp.
    pub timestamp: u64,
}

#[derive(Serialize, Deserialize)]
struct RetentionDocument {
    format: u32,
    marks: VecDeque<ServedMark>,
}

/// The marks of one role in `retention.json`, and the progress of its sweep.
#[derive(Debug)]
pub struct Retention {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    policy: RetentionPolicy,
    marks: VecDeque<ServedMark>,
    pub(crate) sweep: SweepProgress,
}

impl Retention {
    /// Reads `retention.json` in `state`, the private directory of one role. Without the file, or with one that is
    /// malformed, no file is known to be out of use: files are only kept longer.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn open(fs: Arc<dyn Fs>, state: &Path, policy: RetentionPolicy) -> io::Result<Self> {
        let path = state.join("retention.json");
        let marks = match durable::read_bounded(fs.as_ref(), &path, MAX_RETENTION_BYTES) {
            Ok(bytes) => match serde_json::from_slice::<RetentionDocument>(&bytes) {
                Ok(file) if file.format == RETENTION_FORMAT => file.marks,
                _ => {
                    tracing::warn!(retention.file = %path.display(), "malformed retention marks ignored; starting with none");
                    VecDeque::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { fs, path, policy, marks, sweep: SweepProgress::default() })
    }

    /// How long files are kept.
    #[must_use]
    pub fn policy(&self) -> RetentionPolicy {
        self.policy
    }

    pub(crate) fn deletions(&self) -> usize {
        self.policy.deletions
    }

    /// The time before which a file is older than `keep`, in seconds since the Unix epoch.
    pub(crate) fn before(&self, now: UtcTime) -> i64 {
        now.plus_seconds(-self.policy.keep).unix()
    }

    /// Adds a mark. Durable when it returns.
    ///
    /// # Errors
    /// When the file cannot be written; then the caller must delete nothing.
    pub(crate) fn add_mark(&mut self, mark: ServedMark, now: UtcTime) -> io::Result<()> {
        let mut marks = self.marks.clone();
        add(&mut marks, mark, now, self.policy.keep);
        if marks == self.marks {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&RetentionDocument { format: RETENTION_FORMAT, marks: marks.clone() })?;
        durable::replace(self.fs.as_ref(), &self.path, &bytes, 0o600)?;
        self.marks = marks;
        Ok(())
    }

    /// The newest mark that is at least `keep` (and `margin`) seconds old at `now`: everything older is out of use.
    pub(crate) fn horizon(&self, now: UtcTime, margin: i64) -> Option<ServedMark> {
        horizon(&self.marks, now, self.policy.keep.saturating_add(margin))
    }
}

fn horizon(marks: &VecDeque<ServedMark>, now: UtcTime, keep: i64) -> Option<ServedMark> {
    marks.iter().rev().find(|mark| now.seconds_since(mark.time) >= keep).copied()
}

/// Adds a mark and drops the marks that have become redundant.
fn add(marks: &mut VecDeque<ServedMark>, mark: ServedMark, now: UtcTime, keep: i64) {
    // The clock went back: the marks made while it was ahead are not reliable.
    marks.retain(|old| old.time <= now);
    let back = |old: &ServedMark| old.snapshot > mark.snapshot || old.timestamp > mark.timestamp;
    if marks.iter().any(back) {
        // The repository was restored to an earlier state: the marks do not describe it.
        marks.clear();
    }
    let spacing = (keep / 64).max(600);
    if marks.back().is_none_or(|last| mark.time.seconds_since(last.time) >= spacing) {
        marks.push_back(mark);
    }
    // Once the second oldest mark is old enough for every purpose, the oldest is redundant.
    while marks
        .get(1)
        .is_some_and(|second| now.seconds_since(second.time) >= keep.saturating_add(SNAPSHOT_MARGIN_SECONDS))
    {
        marks.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(time: i64) -> UtcTime {
        UtcTime::from_unix(time)
    }

    fn mark(time: i64, version: u64) -> ServedMark {
        ServedMark { snapshot: version, time: at(time), timestamp: version }
    }

    #[test]
    fn the_horizon_is_the_newest_mark_that_is_old_enough() {
        let mut marks = VecDeque::new();
        for hour in 0..200 {
            add(&mut marks, mark(hour * 3600, hour as u64 + 1), at(hour * 3600), 2 * DAY);
            match horizon(&marks, at(hour * 3600), 2 * DAY) {
                None => assert!(hour < 48),
                Some(horizon) => assert_eq!(horizon, mark((hour - 48) * 3600, hour as u64 - 47)),
            }
        }
        // Two days, the margin of a day, and one at either end.
        assert!(marks.len() <= 74, "{}", marks.len());
    }

    #[test]
    fn marks_of_a_clock_that_was_ahead_or_of_a_state_rolled_back_are_dropped() {
        let mut marks = VecDeque::from([mark(0, 5), mark(10 * DAY, 6)]);
        add(&mut marks, mark(DAY, 7), at(DAY), DAY);
        assert_eq!(marks, [mark(0, 5), mark(DAY, 7)]);
        add(&mut marks, mark(2 * DAY, 6), at(2 * DAY), DAY);
        assert_eq!(marks, [mark(2 * DAY, 6)]);
    }
}
