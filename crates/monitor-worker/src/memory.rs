//! The memory between cycles. Losing it costs time, never a drop.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

use crate::drop_dir::{DropDir, DropListing, DropName};
use crate::receipt::Receipt;

/// The monitor's knowledge that is not on disk.
#[derive(Debug, Default)]
pub(crate) struct CycleMemory {
    /// Most drops of the next batch, while a bad one is searched for.
    pub(crate) max_drops: Option<usize>,
    /// How many drops were held back in the last cycle.
    pub(crate) held: u64,
    /// How often each drop was found changing.
    pub(crate) changing: HashMap<DropName, u32>,
    /// Rejections in the journal, by drop name.
    pub(crate) rejections: HashMap<String, Receipt>,
    /// The batch directory in use.
    pub(crate) in_flight: Option<String>,
    /// Ready, processing and rejected directories when last listed.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Modification time of the oldest directory that waits, ready or taken in, when last listed, Unix seconds.
    pub(crate) oldest_waiting: Option<i64>,
    /// When receipts past their time were last looked for, Unix seconds.
    pub(crate) last_collection: Option<i64>,
    /// Whether this process has removed the staging directories of earlier ones.
    pub(crate) own_staging_removed: bool,
    /// Drops that ended and whose directory could not be renamed yet, by directory name and by device and inode.
    unrenamed: HashMap<(OsString, (u64, u64)), Receipt>,
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
        self.unrenamed.insert((drop.dir.clone(), drop.id), receipt);
    }

    /// Takes the drops that ended out of `processing`, with their receipts; directories that are gone are forgotten.
    pub(crate) fn take_unrenamed(&mut self, processing: &mut Vec<DropDir>) -> Vec<(DropDir, Receipt)> {
        let mut unrenamed = std::mem::take(&mut self.unrenamed);
        let mut found = Vec::new();
        if !unrenamed.is_empty() {
            processing.retain(|drop| match unrenamed.remove(&(drop.dir.clone(), drop.id)) {
                Some(receipt) => {
                    found.push((drop.clone(), receipt));
                    false
                }
                None => true,
            });
        }
        found
    }

    /// Updates the counts and the age of the oldest drop.
    pub(crate) fn count(&mut self, found: &DropListing) {
        let counts = [
            ("ready", found.ready.len() as u64),
            ("processing", found.processing.len() as u64),
            ("rejected", found.rejected),
        ];
        self.counts = counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
        // A drop that was taken in and makes no progress waits as well; one that ended and cannot be renamed does not.
        let ended = |drop: &DropDir| self.unrenamed.contains_key(&(drop.dir.clone(), drop.id));
        let oldest = [found.processing.iter().find(|drop| !ended(drop)), found.ready.first()];
        self.oldest_waiting = oldest.into_iter().flatten().map(|drop| drop.mtime.0).min();
    }
}
