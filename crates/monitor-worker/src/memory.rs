//! The memory between cycles. Losing it costs time, never a drop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;

use fleet::contract::WaitingDrop;

use crate::drop_dir::{DropDir, DropListing, DropName};
use crate::kept_survey::KeptSurvey;
use crate::receipt::Receipt;
use crate::wait_reason::WaitReason;

/// How many drops and ignored entries `status` names.
pub const MAX_NAMED_DROPS: usize = 20;

/// The first time for which a drop is put off, in seconds, and the longest: each is twice the one before.
const PUT_OFF_SECONDS: (i64, i64) = (10, 600);

/// A drop that the targets-worker does not add yet. Each try copies the drop, so it is tried again only once a time has passed,
/// or a number of cycles, which double with each try: cycles come seldom on an idle fleet and often on a busy one.
#[derive(Clone, Debug)]
pub(crate) struct PutOff {
    /// Why, in the words of the targets-worker.
    reason: String,
    /// How often it was put off.
    times: u32,
    /// For how many more cycles it is not tried.
    cycles: u64,
    /// When it was put off, Unix seconds.
    since: i64,
}

impl PutOff {
    fn again(before: Option<&Self>, reason: &str, now: i64) -> Self {
        let times = before.map_or(0, |before| before.times);
        let cycles = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
        Self { reason: reason.to_owned(), times: times.saturating_add(1), cycles, since: now }
    }

    fn is_due(&self, now: i64) -> bool {
        let (first, longest) = PUT_OFF_SECONDS;
        let doubled = first.checked_shl(self.times.saturating_sub(1)).filter(|seconds| *seconds > 0);
        let seconds = doubled.map_or(longest, |seconds| seconds.min(longest));
        // A clock that was set back says nothing about the time that passed.
        self.cycles == 0 || now.saturating_sub(self.since) >= seconds
    }
}

/// An older drop with which a drop shares a path.
#[derive(Clone, Debug)]
pub(crate) struct SharedPath {
    pub(crate) older: DropName,
    /// Device and inode of its directory.
    pub(crate) older_id: (u64, u64),
    pub(crate) path: String,
}

/// A drop that waits, as it was last listed.
#[derive(Clone, Debug)]
pub(crate) struct NamedDrop {
    pub(crate) name: DropName,
    /// `ready` or `processing`.
    pub(crate) stage: &'static str,
    /// Since when it waits, Unix seconds.
    pub(crate) since: i64,
}

/// The monitor's knowledge that is not on disk.
#[derive(Debug, Default)]
pub(crate) struct CycleMemory {
    /// Most drops of the next batch, while a bad one is searched for.
    pub(crate) max_drops: Option<usize>,
    /// The drops that were held back in the last cycle, and why.
    pub(crate) held: BTreeMap<DropName, String>,
    /// The oldest drops that wait, ready or taken in, when last listed, and since when, Unix seconds.
    pub(crate) waiting: Vec<NamedDrop>,
    /// The drops that are taken in, when last listed.
    processing: HashSet<DropName>,
    /// Entries that look like a drop and are none, when last listed.
    pub(crate) ignored: Vec<WaitingDrop>,
    /// How often each drop was found changing.
    pub(crate) changing: HashMap<DropName, u32>,
    /// Drops that the targets-worker does not add yet, by device and inode of their directories.
    put_off: HashMap<(u64, u64), PutOff>,
    /// The surveys of the drops that were held back in the last cycle, by device and inode of their directories.
    pub(crate) surveys: HashMap<(u64, u64), KeptSurvey>,
    /// The older drops with which drops were found to share a path, by device and inode of the younger one, with its time.
    shared_paths: HashMap<(u64, u64), ((i64, u32), SharedPath)>,
    /// A condition of the drop directory that an operator has to look at.
    pub(crate) notice: Option<String>,
    /// Rejections in the journal, by drop name.
    pub(crate) rejections: HashMap<String, Receipt>,
    /// The batch directory in use.
    pub(crate) in_flight: Option<String>,
    /// Ready, processing and rejected directories when last listed.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Drops that this process took in, by device and inode of their directories, and when they had become ready: taking in
    /// changes the time of a directory.
    pub(crate) claimed: HashMap<(u64, u64), i64>,
    /// Since when the oldest drop waits, ready or taken in, when last listed, Unix seconds.
    pub(crate) oldest_waiting: Option<i64>,
    /// When receipts past their time were last looked for, Unix seconds.
    pub(crate) last_collection: Option<i64>,
    /// Whether this process has removed the staging directories of earlier ones.
    pub(crate) own_staging_removed: bool,
    /// Drops that ended and whose directory could not be renamed yet, by directory name and by device and inode.
    unrenamed: HashMap<(OsString, (u64, u64)), (DropDir, Receipt)>,
    last_number: u64,
}

impl CycleMemory {
    /// The memory of a process that starts, with the rejections in the journal by drop name.
    pub(crate) fn new(rejections: HashMap<String, Receipt>) -> Self {
        Self { rejections, ..Self::default() }
    }

    /// A number that this process has not used in a name yet.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Remembers a drop that ended and whose directory cannot be renamed now, so that it is not taken for work.
    pub(crate) fn remember_unrenamed(&mut self, drop: &DropDir, receipt: Receipt) {
        self.unrenamed.insert((drop.dir.clone(), drop.id), (drop.clone(), receipt));
    }

    /// Takes the drops that ended out of `processing`, with their receipts; directories that are gone are forgotten.
    pub(crate) fn take_unrenamed(&mut self, processing: &mut Vec<DropDir>) -> Vec<(DropDir, Receipt)> {
        let mut unrenamed = std::mem::take(&mut self.unrenamed);
        let mut found = Vec::new();
        if !unrenamed.is_empty() {
            processing.retain(|drop| match unrenamed.remove(&(drop.dir.clone(), drop.id)) {
                Some(ended) => {
                    found.push(ended);
                    false
                }
                None => true,
            });
        }
        found
    }

    /// Remembers the drops that a cycle held back.
    pub(crate) fn hold(&mut self, held: &[(DropName, WaitReason)]) {
        self.held = held.iter().rev().map(|(name, reason)| (name.clone(), reason.to_string())).collect();
    }

    /// Puts a drop off at `now` (Unix seconds).
    pub(crate) fn put_off(&mut self, drop: &DropDir, reason: &str, now: i64) {
        let put_off = PutOff::again(self.put_off.get(&drop.id), reason, now);
        self.put_off.insert(drop.id, put_off);
        self.held.insert(drop.name.clone(), reason.to_owned());
    }

    /// Why a drop is not tried in this cycle, at `now` (Unix seconds). The cycle counts.
    pub(crate) fn is_put_off(&mut self, drop: &DropDir, now: i64) -> Option<String> {
        let put_off = self.put_off.get_mut(&drop.id).filter(|put_off| !put_off.is_due(now))?;
        put_off.cycles -= 1;
        Some(put_off.reason.clone())
    }

    /// Remembers that a drop shares a path with an older one.
    pub(crate) fn remember_shared_path(&mut self, drop: &DropDir, shared: SharedPath) {
        self.shared_paths.insert(drop.id, (drop.ctime, shared));
    }

    /// The older drop with which a drop was found to share a path.
    pub(crate) fn shared_path(&self, drop: &DropDir) -> Option<SharedPath> {
        let (ctime, shared) = self.shared_paths.get(&drop.id)?;
        (*ctime == drop.ctime).then(|| shared.clone())
    }

    /// Number of drops in each state: a drop that is held counts as such only.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let taken = self.held.keys().filter(|name| self.processing.contains(*name)).count();
        let mut counts = self.counts.clone();
        for (stage, held) in [("processing", taken), ("ready", self.held.len() - taken)] {
            if let Some(count) = counts.get_mut(stage) {
                *count = count.saturating_sub(held as u64);
            }
        }
        counts.insert("held".to_owned(), self.held.len() as u64);
        counts
    }

    /// Updates the counts and the ages of the oldest drops.
    pub(crate) fn count(&mut self, found: &DropListing) {
        let counts = [
            ("ready", found.ready_total),
            ("processing", found.processing_total),
            ("rejected", found.rejected),
            ("late", found.late),
            ("ignored", found.ignored_total),
        ];
        self.counts = counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
        // A drop that was taken in and makes no progress waits as well; one that ended and cannot be renamed does not.
        let ended = |drop: &DropDir| self.unrenamed.contains_key(&(drop.dir.clone(), drop.id));
        let since = |drop: &DropDir| self.claimed.get(&drop.id).copied().unwrap_or(drop.ctime.0);
        let waiting = |drop: &DropDir, stage| NamedDrop { name: drop.name.clone(), stage, since: since(drop) };
        let taken = found.processing.iter().filter(|drop| !ended(drop)).map(|drop| waiting(drop, "processing"));
        let mut waiting: Vec<NamedDrop> = taken.chain(found.ready.iter().map(|drop| waiting(drop, "ready"))).collect();
        waiting.sort_by_key(|drop| drop.since);
        self.oldest_waiting = waiting.first().map(|drop| drop.since);
        self.processing = found.processing.iter().map(|drop| drop.name.clone()).collect();
        let names: HashSet<&DropName> = found.processing.iter().chain(&found.ready).map(|drop| &drop.name).collect();
        self.held.retain(|name, _| names.contains(name));
        waiting.truncate(MAX_NAMED_DROPS);
        self.waiting = waiting;
        let ignored = found.ignored.iter().take(MAX_NAMED_DROPS).map(|entry| WaitingDrop {
            name: entry.name.to_string_lossy().escape_debug().to_string(),
            stage: "ignored".to_owned(),
            since: None,
            reason: Some(entry.reason.to_string()),
        });
        self.ignored = ignored.collect();
        let present: HashSet<(u64, u64)> = found.processing.iter().chain(&found.ready).map(|drop| drop.id).collect();
        self.claimed.retain(|id, _| present.contains(id));
        self.put_off.retain(|id, _| present.contains(id));
        self.shared_paths.retain(|id, (_, shared)| present.contains(id) && present.contains(&shared.older_id));
        let notice = found.notice();
        if notice != self.notice {
            if let Some(notice) = &notice {
                tracing::warn!(notice, "drop directory holds too much");
            }
            self.notice = notice;
        }
    }
}
