//! What may be deleted, and when.
//!
//! A client that has fetched a timestamp goes on to fetch what it leads to, and may take its time. So every role that
//! collects notes, again and again, which timestamp and snapshot it found served, in a [`Mark`]. What clients are shown
//! only moves forward: no client of the last `keep` seconds can hold an older snapshot than that of the newest mark made
//! before them, the *horizon*. The versions of roles that the horizon's snapshot lists, and all above them, stay;
//! versions below them, and target files that no version at or above them lists, are wanted by nobody.
//!
//! Marks are made from a timestamp that verifies and has not expired, and only time that has passed on this process's own
//! watch counts: files' own times are never evidence that something is out of use. Without a mark old enough nothing is
//! deleted.
//!
//! | files | deleted by | when |
//! |---|---|---|
//! | `N.root.json` | nobody | never |
//! | `N.targets.json`, `N.bins.json`, `N.bin_*.json` | targets role | below the version the horizon lists |
//! | `N.snapshot.json` | snapshot role | below the horizon of a day more, so that every role finds its horizon |
//! | `.N.timestamp.json` | timestamp role | below the horizon |
//! | `dir/HASH.name`, `HASH.dir/name` | targets role | listed by no version from the horizon on, and older than `keep` |
//! | plain target files | timestamp role, without consistent snapshots | the same |
//! | records and bases | targets role | before the newest valid base older than `keep`; its own record stays |
//!
//! The newest version of everything is at or above the horizon, so that no number is ever used twice.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};

use crate::log::number_of;
use tuf_core::names::{RoleName, TargetPath};
use tuf_core::sha256::Sha256;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

/// The shortest time that anything is kept after it went out of use: 24 hours, in seconds.
pub const MIN_KEEP_SECONDS: i64 = 86_400;
/// How much longer snapshots are kept than what they list, so that each role finds the snapshot of its own horizon.
pub(crate) const SNAPSHOT_MARGIN: i64 = 86_400;
const FORMAT: u32 = 1;
const MAX_FILE: u64 = 4 << 20;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    keep: i64,
    deletions: usize,
}

impl RetentionPolicy {
    /// Keeps everything for `seconds` after it went out of use, and in any case for the lifetime of a timestamp and a
    /// day more: so long may a client that was slow, or held back, go on with what it has.
    #[must_use]
    pub fn new(seconds: i64, timestamp_lifetime: i64) -> Self {
        let least = timestamp_lifetime.max(0).saturating_add(MIN_KEEP_SECONDS);
        Self { keep: seconds.max(least), deletions: 5_000 }
    }

    /// At most so many files are deleted by one call. What is left over is found by the next.
    #[must_use]
    pub fn with_deletions(self, deletions: usize) -> Self {
        Self { deletions: deletions.max(1), ..self }
    }

    /// How long things are kept after they went out of use, in seconds.
    #[must_use]
    pub fn keep_seconds(&self) -> i64 {
        self.keep
    }
}

/// What a call deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Metadata files, hidden timestamps included.
    pub metadata: u64,
    /// Names of target files.
    pub targets: u64,
    /// Records and bases of the commit log.
    pub records: u64,
    /// Temporary files that killed processes left behind.
    pub temporary: u64,
    /// Whether there is more to do at once: a limit was reached.
    pub more: bool,
}

impl Collected {
    /// Files deleted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.metadata + self.targets + self.records + self.temporary
    }
}

/// At `time`, timestamp and snapshot of these versions were what clients got, or older ones no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Version of the snapshot.
    pub snapshot: u64,
    /// When.
    pub time: UtcTime,
    /// Version of the timestamp.
    pub timestamp: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    marks: VecDeque<Mark>,
}

/// The marks of one role, in its private directory, and how far it has come.
#[derive(Debug)]
pub struct Retention {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    policy: RetentionPolicy,
    marks: VecDeque<Mark>,
    pub(crate) sweep: Sweep,
}

/// How far the target files have been looked through.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// When the last round began.
    pub(crate) started: Option<UtcTime>,
    /// Whether this round is the first of this process.
    pub(crate) first: bool,
    /// Directories still to be looked at in this round.
    pub(crate) pending: Vec<String>,
    /// Names looked at in this round.
    pub(crate) looked: usize,
    /// The version of a role in which an old file was found listed, so that it is not looked for again until that
    /// version is below the horizon.
    pub(crate) listed_by: BTreeMap<FileName, (RoleName, u64)>,
}

impl Retention {
    /// Reads `retention.json` in `state`, the private directory of one role. A file that is lost or cannot be
    /// understood means that nothing is known to be out of use yet: things are kept longer, nothing else.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(fs: Arc<dyn Fs>, state: &Path, policy: RetentionPolicy) -> io::Result<Self> {
        let path = state.join("retention.json");
        let marks = match durable::read_bounded(fs.as_ref(), &path, MAX_FILE) {
            Ok(bytes) => match serde_json::from_slice::<File>(&bytes) {
                Ok(file) if file.format == FORMAT => file.marks,
                _ => {
                    tracing::warn!("{} cannot be understood; retention starts anew", path.display());
                    VecDeque::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { fs, path, policy, marks, sweep: Sweep::default() })
    }

    /// How long things are kept.
    #[must_use]
    pub fn policy(&self) -> RetentionPolicy {
        self.policy
    }

    pub(crate) fn deletions(&self) -> usize {
        self.policy.deletions
    }

    /// What was last written before this, in seconds since the Unix epoch, is older than `keep`.
    pub(crate) fn before(&self, now: UtcTime) -> i64 {
        now.plus_seconds(-self.policy.keep).unix()
    }

    /// Notes what is served.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing must be collected by what it says.
    pub(crate) fn note(&mut self, mark: Mark, now: UtcTime) -> io::Result<()> {
        let mut marks = self.marks.clone();
        add(&mut marks, mark, now, self.policy.keep);
        if marks == self.marks {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&File { format: FORMAT, marks: marks.clone() })?;
        durable::replace(self.fs.as_ref(), &self.path, &bytes, 0o600)?;
        self.marks = marks;
        Ok(())
    }

    /// The mark that everything older than it is out of use for `keep` (and `margin`) seconds at `now`.
    pub(crate) fn horizon(&self, now: UtcTime, margin: i64) -> Option<Mark> {
        horizon(&self.marks, now, self.policy.keep.saturating_add(margin))
    }
}

fn horizon(marks: &VecDeque<Mark>, now: UtcTime, keep: i64) -> Option<Mark> {
    marks.iter().rev().find(|mark| now.seconds_since(mark.time) >= keep).copied()
}

/// Adds a mark, drops those that say nothing more.
fn add(marks: &mut VecDeque<Mark>, mark: Mark, now: UtcTime, keep: i64) {
    // Of a clock that went back nothing is believed that it said when it was ahead.
    marks.retain(|old| old.time <= now);
    let back = |old: &Mark| old.snapshot > mark.snapshot || old.timestamp > mark.timestamp;
    if marks.iter().any(back) {
        // Restored to an earlier state, and recovered: what clients hold is not what was seen here.
        marks.clear();
    }
    let spacing = (keep / 64).max(600);
    if marks.back().is_none_or(|last| mark.time.seconds_since(last.time) >= spacing) {
        marks.push_back(mark);
    }
    // The second oldest says all that the oldest does, once it is old enough for every purpose.
    while marks.get(1).is_some_and(|second| now.seconds_since(second.time) >= keep.saturating_add(SNAPSHOT_MARGIN)) {
        marks.pop_front();
    }
}

/// Of the files in `metadata/`, the `N.ROLE.json` below the version that `first` names for their role, oldest versions
/// first, so that what is cut short leaves no gap.
pub(crate) fn versions_below(names: &[String], first: impl Fn(&RoleName) -> Option<u64>) -> Vec<(u64, &str)> {
    let mut found: Vec<(u64, &str)> = names
        .iter()
        .filter_map(|name| {
            let (version, role) = versioned_role(name)?;
            (version < first(&role)?).then_some((version, name.as_str()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Version and role of a file in `metadata/`: those that the targets role writes, and delegated ones like them.
pub(crate) fn versioned_role(name: &str) -> Option<(u64, RoleName)> {
    let (digits, rest) = name.split_once('.')?;
    let role = rest.strip_suffix(".json")?;
    let version = number_of(name, &name[digits.len()..])?;
    if matches!(role, "root" | "snapshot" | "timestamp") {
        return None;
    }
    Some((version, RoleName::new(role).ok()?))
}

/// What a file in `targets/` may be: every target that it is (or may be) a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its names, in the order in which they are to be removed.
    pub(crate) names: Vec<FileName>,
    /// The targets; with a hash only in that version.
    pub(crate) targets: Vec<(TargetPath, Option<Sha256>)>,
}

impl Candidate {
    /// A file named by its hash, as the targets role creates them: `dir/HASH.name`, with its other name
    /// `HASH.dir/name`. Where plain names are in use, a plain name can look like one. `None`: it is none of these.
    pub(crate) fn hashed(dir: &str, base: &str, plain_too: bool) -> Option<Self> {
        // By its second name: what its first one would be.
        if let Some((hash, dir)) = dir.split_at_checked(64)
            && let Some(dir) = dir.strip_prefix('.')
            && let Some(found) = Self::first_name(dir, &format!("{hash}.{base}"), plain_too)
        {
            return Some(found);
        }
        Self::first_name(dir, base, plain_too)
    }

    fn first_name(dir: &str, base: &str, plain_too: bool) -> Option<Self> {
        let (hash, name) = base.split_at_checked(64)?;
        let name = name.strip_prefix('.')?;
        let sha256: Sha256 = hash.parse().ok().filter(|digest: &Sha256| digest.to_string() == hash)?;
        let below = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let path = TargetPath::new(&below(name)).ok()?;
        let file = below(base);
        let (mut targets, mut names) = (Vec::with_capacity(2), Vec::with_capacity(2));
        if !dir.is_empty() {
            let second = FileName::new(format!("{hash}.{path}")).ok()?;
            // Which may look like the first name of another target, in a directory that is named like a hash.
            targets
                .extend(Self::first_name(second.dir(), second.base(), plain_too).into_iter().flat_map(|c| c.targets));
            if plain_too {
                targets.push((TargetPath::new(second.as_str()).ok()?, None));
            }
            names.push(second);
        }
        if plain_too {
            targets.push((TargetPath::new(&file).ok()?, None));
        }
        targets.push((path, Some(sha256)));
        names.push(FileName::new(file).ok()?);
        Some(Self { names, targets })
    }

    /// A file under a target's own name, as the timestamp role makes them. Hidden names are nobody's copies.
    pub(crate) fn plain(dir: &str, base: &str) -> Option<Self> {
        if base.starts_with('.') || Self::hashed(dir, base, false).is_some() {
            return None;
        }
        let file = if dir.is_empty() { base.to_owned() } else { format!("{dir}/{base}") };
        let path = TargetPath::new(&file).ok()?;
        Some(Self { names: vec![FileName::new(file).ok()?], targets: vec![(path, None)] })
    }
}

/// Whether a directory directly in `targets/` holds only second names of files: `HASH.dir`.
pub(crate) fn is_hashed_dir(dir: &str) -> bool {
    dir.split_at_checked(64).is_some_and(|(hash, rest)| {
        rest.starts_with('.') && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const DAY: i64 = 86_400;

    fn at(time: i64) -> UtcTime {
        UtcTime::from_unix(time)
    }

    fn mark(time: i64, version: u64) -> Mark {
        Mark { snapshot: version, time: at(time), timestamp: version }
    }

    #[test]
    fn nothing_is_kept_for_less_than_a_timestamp_lives_and_a_day() {
        assert_eq!(RetentionPolicy::new(0, DAY).keep_seconds(), 2 * DAY);
        assert_eq!(RetentionPolicy::new(30 * DAY, DAY).keep_seconds(), 30 * DAY);
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

    #[test]
    fn only_versions_below_the_first_one_in_use_are_planned_for() {
        let names = [
            "1.root.json",
            "1.snapshot.json",
            "1.targets.json",
            "10.targets.json",
            "2.bin_0.json",
            "2.targets.json",
            "03.targets.json",
            "targets.json",
            "timestamp.json",
            ".1.timestamp.json",
            "1.other.json",
        ]
        .map(str::to_owned);
        let plan = versions_below(&names, |role| match role.as_str() {
            "targets" => Some(10),
            "bin_0" => Some(2),
            "root" | "snapshot" | "timestamp" => Some(100),
            _ => None,
        });
        assert_eq!(plan, [(1, "1.targets.json"), (2, "2.targets.json")]);
    }

    #[test]
    fn a_hashed_name_is_a_copy_of_the_target_it_names() {
        let candidate = Candidate::hashed("pkg/deep", &format!("{HASH}.a.deb"), false).unwrap();
        let names: Vec<_> = candidate.names.iter().map(FileName::as_str).collect();
        assert_eq!(names, [format!("{HASH}.pkg/deep/a.deb"), format!("pkg/deep/{HASH}.a.deb")]);
        assert_eq!(candidate.targets, [("pkg/deep/a.deb".parse().unwrap(), Some(HASH.parse().unwrap()))]);
        for other in ["a.deb".to_owned(), HASH.into(), format!("{}.a", HASH.to_uppercase()), format!("{HASH}.")] {
            assert_eq!(Candidate::hashed("", &other, false), None, "{other}");
        }
    }

    #[test]
    fn where_plain_names_are_in_use_a_hashed_name_may_be_one() {
        let name = format!("{HASH}.a");
        let candidate = Candidate::hashed("", &name, true).unwrap();
        assert!(candidate.targets.contains(&(name.parse().unwrap(), None)));
        let second = Candidate::hashed("pkg", &name, true).unwrap();
        assert!(second.targets.contains(&(format!("{HASH}.pkg/a").parse().unwrap(), None)));
        assert_eq!(Candidate::plain("", &name), None);
        assert!(Candidate::plain("pkg", "a").is_some() && Candidate::plain("pkg", ".a").is_none());
    }

    #[test]
    fn directories_of_second_names_are_told_apart() {
        assert!(is_hashed_dir(&format!("{HASH}.pkg")));
        assert!(!is_hashed_dir("pkg") && !is_hashed_dir(HASH));
        let second = Candidate::hashed(&format!("{HASH}.pkg/deep"), "a.deb", false);
        assert_eq!(second, Candidate::hashed("pkg/deep", &format!("{HASH}.a.deb"), false));
    }
}
