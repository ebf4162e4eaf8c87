//! The result of the first half of a cycle.

use std::collections::{HashMap, HashSet};

use fleet::batch::Batch;

use super::held_paths::HeldPaths;
use crate::drop_dir::{DropDir, DropName, IgnoredEntry};
use crate::kept_survey::KeptSurvey;
use crate::wait_reason::WaitReason;

/// The result of the first half of a cycle.
#[derive(Debug)]
pub(crate) struct IntakeReport {
    /// The batch to be signed.
    pub(crate) staged: Option<StagedBatch>,
    /// Drops renamed from ready to processing.
    pub(crate) taken: u64,
    /// Drops that had been published before and only needed their receipt again.
    pub(crate) published: u64,
    /// Drops rejected.
    pub(crate) rejected: u64,
    /// Drops left waiting, those held back included.
    pub(crate) waiting: u64,
    /// Drops held back, and why.
    pub(crate) held: Vec<(DropName, WaitReason)>,
    /// What looks like a drop and is none.
    pub(crate) ignored: Vec<IgnoredEntry>,
    /// Whether drops were left out that a further batch could take immediately.
    pub(crate) more: bool,
    /// Target paths of drops held back. A younger drop with one of them waits too, because the later of two drops with the
    /// same path has to win.
    pub(super) blocked: HeldPaths,
    /// The drops held back, by device and inode.
    pub(super) held_ids: HashSet<(u64, u64)>,
    /// Their surveys.
    pub(super) surveys: HashMap<(u64, u64), KeptSurvey>,
    drops: usize,
}

impl IntakeReport {
    /// A report that remembers at most `most` paths of drops that are held back.
    pub(super) fn new(most: usize) -> Self {
        Self {
            staged: None,
            taken: 0,
            published: 0,
            rejected: 0,
            waiting: 0,
            held: Vec::new(),
            ignored: Vec::new(),
            more: false,
            blocked: HeldPaths::of_at_most(most),
            held_ids: HashSet::new(),
            surveys: HashMap::new(),
            drops: 0,
        }
    }

    /// The place of the next drop: drops are looked at oldest first, those taken in before ready ones.
    pub(super) fn next_order(&mut self) -> usize {
        self.drops += 1;
        self.drops
    }
}

/// A batch that is visible to the targets-worker.
#[derive(Debug)]
pub(crate) struct StagedBatch {
    pub(crate) batch: Batch,
    /// The processing directories, in the order of the batch's drops.
    pub(crate) dirs: Vec<DropDir>,
}
