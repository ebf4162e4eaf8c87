//! The first half of a cycle: from the drop directory to a batch that the targets-worker can see.

mod candidate;
mod claim;
mod decide;
mod held_paths;
mod mount_time;
mod pick;
mod report;
mod room;
mod sieve;
mod stage;

use std::collections::HashSet;
use std::io;

use crate::batch;
use crate::cycle::CycleError;
use crate::drop_dir::{DropDir, DropName};
use crate::file_work::FileWork;
use crate::receipt::Receipt;
use crate::rejection::RejectReason;
use crate::wait_reason::WaitReason;

pub(crate) use report::{IntakeReport, StagedBatch};

impl FileWork {
    /// Takes in the next batch: drops that were taken in before, else ready ones.
    pub(crate) fn intake(&self) -> Result<IntakeReport, CycleError> {
        self.remove_own_staging();
        // The cycle before is over, whichever batch it worked on.
        self.memory().in_flight = None;
        let mut report = IntakeReport::new(self.settings.limits.held_paths);
        let mut found = self.list()?;
        let leaves_out = found.leaves_processing_out();
        let paused = self.pause.get().paused;
        self.memory().count(&found);

        let busy: HashSet<DropName> = found.processing.iter().map(|d| d.name.clone()).collect();
        let ended = self.memory().take_unrenamed(&mut found.processing);
        let ended_drops = ended.len() as u64;
        self.give_last_names(ended);
        let present = (found.ready_total + found.processing_total).saturating_sub(ended_drops);

        self.finish_noted_rejections(&mut found.processing, &mut report)?;
        self.reject_bad_names(&mut found.processing, &mut report)?;
        report.ignored = found.ignored;
        let unknown = if paused { self.unknown(&found.processing)? } else { HashSet::new() };
        let not_yet = |drop: &DropDir| unknown.contains(&drop.id).then_some(WaitReason::PausedBeforeIntake);
        let picked = self.pick(found.processing, &not_yet, &mut report)?;
        report.staged = self.stage(picked, &mut report)?;
        if paused {
            // Intake is paused; drops that were taken in before are finished.
        } else if report.staged.is_some() || leaves_out {
            report.more |= report.staged.is_some() && !found.ready.is_empty();
        } else {
            self.reject_bad_names(&mut found.ready, &mut report)?;
            // Where its processing name is in use, the drop before it ends first.
            let not_yet = |drop: &DropDir| busy.contains(&drop.name).then_some(WaitReason::NameInUse);
            let picked = self.pick(found.ready, &not_yet, &mut report)?;
            let claimed = self.claim(picked, &mut report)?;
            report.staged = self.stage(claimed, &mut report)?;
        }
        let in_batch = report.staged.as_ref().map_or(0, |s| s.dirs.len() as u64);
        report.waiting = present.saturating_sub(report.published + report.rejected + in_batch);
        let mut memory = self.memory();
        memory.hold(&report.held);
        memory.surveys = std::mem::take(&mut report.surveys);
        drop(memory);
        Ok(report)
    }

    /// The drops, by device and inode, that have a processing name without a sign that a monitor took them in: a producer may
    /// have given them that name. A sign is the memory of this process, or a batch that names this very post.
    fn unknown(&self, processing: &[DropDir]) -> io::Result<HashSet<(u64, u64)>> {
        let unknown = |drop: &&DropDir| !self.memory().claimed.contains_key(&drop.id);
        if !processing.iter().any(|drop| unknown(&drop)) {
            return Ok(HashSet::new());
        }
        let mut batched = HashSet::new();
        for entry in self.fs.open_dir(&self.settings.inbound)?.iter_entries()? {
            let entry = entry?;
            if fleet::batch::is_dir_name(&entry.name) {
                let found = batch::read(&*self.fs, &self.settings.inbound.join(&entry.name))?;
                batched.extend(found.into_iter().flat_map(|batch| batch.drops).map(|drop| (drop.name, drop.post)));
            }
        }
        let in_batch = |drop: &&DropDir| batched.contains(&(drop.name.as_str().to_owned(), Some(drop.post())));
        Ok(processing.iter().filter(unknown).filter(|drop| !in_batch(drop)).map(|drop| drop.id).collect())
    }

    /// Finishes rejections that were interrupted: noted in the state, with the directory still under its processing name.
    /// The drop is not examined again, so that no producer who read "rejected" sees it published.
    fn finish_noted_rejections(&self, processing: &mut Vec<DropDir>, report: &mut IntakeReport) -> io::Result<()> {
        let mut noted = Vec::new();
        processing.retain(|d| match self.memory().rejections.get(d.name.as_str()) {
            Some(receipt) => {
                noted.push((d.clone(), receipt.clone()));
                false
            }
            None => true,
        });
        report.rejected += noted.len() as u64;
        self.finish_rejected(noted)
    }

    fn reject_bad_names(&self, drops: &mut Vec<DropDir>, report: &mut IntakeReport) -> io::Result<()> {
        let mut rejected = Vec::new();
        drops.retain(|d| match d.bad_name {
            Some(error) => {
                let receipt = Receipt::rejected(&d.name, None, &RejectReason::DropName(error), self.now());
                rejected.push((d.clone(), receipt));
                false
            }
            None => true,
        });
        report.rejected += rejected.len() as u64;
        self.finish_rejected(rejected)
    }
}
