//! Which drops make the next batch, and which are held back.

use std::collections::HashSet;
use std::io;

use durable_fs::durable;

use super::candidate::{Candidate, CandidatePaths};
use super::held_paths::OlderDrop;
use super::report::IntakeReport;
use super::room::InboundRoom;
use crate::cycle::CycleError;
use crate::drop_dir::DropDir;
use crate::file_work::FileWork;
use crate::memory::SharedPath;
use crate::staging::{self, DropEntry, DropSurvey};
use crate::wait_reason::WaitReason;

/// The outcome of a survey, with its time, Unix seconds.
enum Surveyed {
    /// The drop does not exist any more.
    Gone,
    Read(DropSurvey, i64),
    Failed(io::Error, i64),
}

impl FileWork {
    /// The drops of the next batch: oldest first, within the bounds. A drop for which there is too little free space, or that
    /// may not be taken yet, is held back, and others pass it; one that alone exceeds the bounds of a batch goes alone.
    ///
    /// No drop is left out in another way unless all younger ones are: what is held back keeps those that share a path with it.
    pub(super) fn pick(
        &self,
        drops: Vec<DropDir>,
        not_yet: &dyn Fn(&DropDir) -> Option<WaitReason>,
        report: &mut IntakeReport,
    ) -> Result<Vec<Candidate>, CycleError> {
        let limits = &self.settings.limits;
        if drops.is_empty() {
            return Ok(Vec::new());
        }
        let max_drops = self.memory().max_drops.unwrap_or(limits.drops).min(limits.drops).max(1);
        let mut room = self.room_for_batch()?;
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let mut picked: Vec<Candidate> = Vec::new();
        let mut names = HashSet::new();
        for drop in drops {
            if picked.len() >= max_drops {
                report.more = true;
                break;
            }
            if let Some(reason) = not_yet(&drop) {
                self.hold_back_untried(drop, reason, report)?;
                continue;
            }
            if names.contains(&drop.name) {
                report.more = true;
                self.hold_back_untried(drop, WaitReason::NameInUse, report)?;
                continue;
            }
            let Some(candidate) = self.candidate(drop, &room, report)? else { continue };
            let size = candidate.size;
            let within = files + size.files <= limits.files && bytes.saturating_add(size.bytes) <= limits.bytes;
            if !within && !picked.is_empty() {
                report.more = true;
                break;
            }
            if !candidate.is_unknown() {
                room.take(&size);
            }
            files += size.files;
            bytes = bytes.saturating_add(size.bytes);
            names.insert(candidate.drop.name.clone());
            picked.push(candidate);
        }
        self.sieve(picked, report)
    }

    /// The drop, surveyed now, unless it is gone or held back. While it is held back, it is not walked through again in each
    /// cycle.
    fn candidate(
        &self,
        drop: DropDir,
        room: &InboundRoom,
        report: &mut IntakeReport,
    ) -> Result<Option<Candidate>, CycleError> {
        let order = report.next_order();
        if let Some(kept) = self.kept_survey(&drop, order, report)
            && let Some(reason) = self.reason_to_wait(&kept, room, report)
        {
            self.hold_back(&kept, reason, report);
            return Ok(None);
        }
        let candidate = match self.surveyed(&drop)? {
            Surveyed::Gone => return Ok(None),
            Surveyed::Read(survey, now) => Candidate::new(drop, order, survey, now),
            Surveyed::Failed(error, now) => {
                let candidate = Candidate::unread(drop, order, now);
                if !is_of_the_drop(&error) {
                    // Not passed over: a younger drop may share a path with it, and would lose to it later.
                    let reason = WaitReason::Unreadable { entry: DropEntry::Whole, source: error };
                    self.hold_back(&candidate, reason, report);
                    return Ok(None);
                }
                // The copy finds out whose fault it is.
                candidate
            }
        };
        if let Some(reason) = self.reason_to_wait(&candidate, room, report) {
            self.hold_back(&candidate, reason, report);
            return Ok(None);
        }
        Ok(Some(candidate))
    }

    /// Holds back a drop that is not tried in this cycle.
    fn hold_back_untried(
        &self,
        drop: DropDir,
        reason: WaitReason,
        report: &mut IntakeReport,
    ) -> Result<(), CycleError> {
        let order = report.next_order();
        let candidate = match self.kept_survey(&drop, order, report) {
            Some(kept) => kept,
            None => match self.surveyed(&drop)? {
                Surveyed::Gone => return Ok(()),
                Surveyed::Read(survey, now) => Candidate::new(drop, order, survey, now),
                // Its own fault, for which it is rejected when its turn comes: it keeps no other.
                Surveyed::Failed(error, _) if is_of_the_drop(&error) => {
                    report.held.push((drop.name, reason));
                    return Ok(());
                }
                Surveyed::Failed(source, now) => {
                    let reason = WaitReason::Unreadable { entry: DropEntry::Whole, source };
                    self.hold_back(&Candidate::unread(drop, order, now), reason, report);
                    return Ok(());
                }
            },
        };
        self.hold_back(&candidate, reason, report);
        Ok(())
    }

    /// A survey of the drop, made now.
    fn surveyed(&self, drop: &DropDir) -> Result<Surveyed, CycleError> {
        let path = self.settings.post.join(&drop.dir);
        let most = self.settings.limits.files_per_drop;
        let beat = || self.progress.call();
        let now = self.clock.now().unix();
        let surveyed = staging::survey(&*self.fs, &path, most, &self.path_numbers, &beat);
        if !self.progress.call() {
            return Err(CycleError::Stopping);
        }
        Ok(match surveyed {
            Ok(survey) => Surveyed::Read(survey, now),
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound && durable::stat_if_there(&*self.fs, &path)?.is_none() {
                    return Ok(Surveyed::Gone);
                }
                Surveyed::Failed(error, now)
            }
        })
    }

    /// The survey of the last cycle, if the drop was held back there. A drop whose paths were too many to be kept is surveyed
    /// again once there is room for them.
    fn kept_survey(&self, drop: &DropDir, order: usize, report: &IntakeReport) -> Option<Candidate> {
        let memory = self.memory();
        let kept = memory.surveys.get(&drop.id).filter(|kept| kept.is_usable(self.clock.now().unix()))?;
        if kept.paths.is_none() && report.blocked.has_room_for(kept.size.files) {
            return None;
        }
        Candidate::kept(drop, order, kept)
    }

    /// Why a drop waits.
    fn reason_to_wait(&self, candidate: &Candidate, room: &InboundRoom, report: &IntakeReport) -> Option<WaitReason> {
        let put_off = self.memory().is_put_off(&candidate.drop, self.clock.now().unix());
        if let Some(reason) = put_off {
            return Some(WaitReason::TargetsWorker(reason));
        }
        // One with too many files is rejected before a file is copied, so it needs no room.
        let lacks = if candidate.is_unknown() { None } else { room.lacks(&candidate.size) };
        lacks.or_else(|| self.older_first(candidate, report))
    }

    /// Holds a drop back, and with it every younger drop that has one of its paths. Its survey is kept, and its paths as well
    /// if they fit the bounds.
    pub(super) fn hold_back(&self, candidate: &Candidate, reason: WaitReason, report: &mut IntakeReport) {
        let mut candidate = candidate.clone();
        if matches!(candidate.paths, CandidatePaths::Known(_)) && !report.blocked.has_room_for(candidate.size.files) {
            candidate.paths = CandidatePaths::LeftOut;
        }
        self.hold_back_whole(&candidate, reason, report);
    }

    /// As [`FileWork::hold_back`], for a drop of the batch: younger ones of the batch were held against the others before.
    pub(super) fn hold_back_whole(&self, candidate: &Candidate, reason: WaitReason, report: &mut IntakeReport) {
        if !(candidate.is_unknown() && reason.is_denied()) {
            report.blocked.add(candidate);
        }
        if let Some(kept) = candidate.to_kept() {
            report.surveys.insert(candidate.drop.id, kept);
        }
        report.held_ids.insert(candidate.drop.id);
        report.held.push((candidate.drop.name.clone(), reason));
    }

    /// Whether a drop of the batch has to wait for an older one that is held back; if so it is held back too.
    pub(super) fn must_wait(&self, candidate: &Candidate, report: &mut IntakeReport) -> bool {
        let reason = self.older_first(candidate, report);
        let waits = reason.is_some();
        if let Some(reason) = reason {
            self.hold_back_whole(candidate, reason, report);
        }
        waits
    }

    /// The older drop that is held back and for which a candidate has to wait.
    fn older_first(&self, candidate: &Candidate, report: &IntakeReport) -> Option<WaitReason> {
        let known = self.memory().shared_path(&candidate.drop);
        if let Some(SharedPath { older, path, .. }) = known.filter(|known| report.held_ids.contains(&known.older_id)) {
            return Some(WaitReason::OlderDropFirst { older, path });
        }
        match report.blocked.older(candidate)? {
            OlderDrop::Unknown { older } => Some(WaitReason::OlderDropUnknown { older }),
            OlderDrop::SharesPath { older, older_id, path } => {
                let path = self.path_of(&candidate.drop, path).unwrap_or_else(|| "one path".to_owned());
                let shared = SharedPath { older: older.clone(), older_id, path: path.clone() };
                self.memory().remember_shared_path(&candidate.drop, shared);
                Some(WaitReason::OlderDropFirst { older, path })
            }
        }
    }

    /// The path of a drop that has this number, for a message.
    fn path_of(&self, drop: &DropDir, number: u64) -> Option<String> {
        let mut wanted = None;
        let dir = self.settings.post.join(&drop.dir);
        let walked = staging::for_each_path(&*self.fs, &dir, &self.path_numbers, &mut |found, path| {
            wanted = (found == number).then(|| path.to_owned());
            wanted.is_none() && self.progress.call()
        });
        walked.ok().and(wanted)
    }
}

/// Whether a drop cannot be read because of the drop, and not because of the machine.
fn is_of_the_drop(error: &io::Error) -> bool {
    const ELOOP: i32 = 40;
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), InvalidInput | NotADirectory | NotFound | PermissionDenied)
        || error.raw_os_error() == Some(ELOOP)
}
