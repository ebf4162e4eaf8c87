//! Which drops make the next batch, and which are held back.

use std::collections::HashSet;
use std::io;

use super::candidate::Candidate;
use super::held_paths::OlderDrop;
use super::report::IntakeReport;
use crate::drop_dir::DropDir;
use crate::file_work::FileWork;
use crate::staging::{self, DropSurvey};
use crate::unusable_dir::unusable_dir;
use crate::wait_reason::WaitReason;

/// Space that a file or directory takes beyond its bytes.
const BLOCK_BYTES: u64 = 4096;

impl FileWork {
    /// The drops of the next batch: oldest first, within the bounds. A drop for which there is too little free space is held
    /// back, and others pass it; one that alone exceeds the bounds of a batch goes alone.
    pub(super) fn pick(&self, drops: Vec<DropDir>, report: &mut IntakeReport) -> io::Result<Vec<Candidate>> {
        let limits = &self.settings.limits;
        if drops.is_empty() {
            return Ok(Vec::new());
        }
        let max_drops = self.memory().max_drops.unwrap_or(limits.drops).min(limits.drops).max(1);
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        let mut free_bytes = space.bytes.saturating_sub(limits.reserve_bytes);
        let mut free_inodes = space.inodes.saturating_sub(limits.reserve_inodes);
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let mut picked: Vec<Candidate> = Vec::new();
        let mut names = HashSet::new();
        for drop in drops {
            if picked.len() >= max_drops {
                report.more = true;
                break;
            }
            if names.contains(&drop.name) {
                report.more = true;
                continue;
            }
            let path = self.settings.post.join(&drop.dir);
            let found = staging::survey(&*self.fs, &path, limits.files_per_drop, &report.blocked.numbers);
            let DropSurvey { size, paths } = match found {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                // The copy finds out whose fault it is.
                Err(_) => DropSurvey::default(),
            };
            let candidate = Candidate { drop, paths };
            let put_off = self.memory().is_put_off(&candidate.drop);
            if let Some(reason) = put_off {
                self.hold_back(&candidate, WaitReason::TargetsWorker(reason), report);
                continue;
            }
            // One with too many files is rejected before a file is copied, so it needs no room.
            let too_many = size.files.max(size.dirs) > limits.files_per_drop;
            let needed_inodes = if too_many { 0 } else { size.files + size.dirs + 1 };
            let bytes_of_files = if too_many { 0 } else { size.bytes };
            let needed_bytes = bytes_of_files.saturating_add(needed_inodes.saturating_mul(BLOCK_BYTES));
            if needed_bytes > free_bytes || needed_inodes > free_inodes {
                let reason = WaitReason::NoRoom { needed_bytes, needed_inodes, free_bytes, free_inodes };
                self.hold_back(&candidate, reason, report);
                continue;
            }
            if self.must_wait(&candidate, report) {
                continue;
            }
            let within = files + size.files <= limits.files && bytes.saturating_add(size.bytes) <= limits.bytes;
            if !within && !picked.is_empty() {
                report.more = true;
                break;
            }
            free_bytes -= needed_bytes;
            free_inodes -= needed_inodes;
            files += size.files;
            bytes = bytes.saturating_add(size.bytes);
            names.insert(candidate.drop.name.clone());
            picked.push(candidate);
        }
        Ok(picked)
    }

    /// Holds a drop back, and with it every younger drop that has one of its paths.
    pub(super) fn hold_back(&self, candidate: &Candidate, reason: WaitReason, report: &mut IntakeReport) {
        report.blocked.add(&candidate.drop.name, &candidate.paths);
        report.held.push((candidate.drop.name.clone(), reason));
    }

    /// Whether a drop has to wait for an older one that is held back; if so it is held back too.
    pub(super) fn must_wait(&self, candidate: &Candidate, report: &mut IntakeReport) -> bool {
        let drop = &candidate.drop;
        let reason = match report.blocked.older(&drop.name, &candidate.paths) {
            None => return false,
            Some(OlderDrop::TooManyPaths { older }) => WaitReason::OlderDropUnknown { older },
            Some(OlderDrop::SharesPath { older, path }) => {
                let (post, most) = (self.settings.post.join(&drop.dir), self.settings.limits.files_per_drop);
                let path = staging::path_of(&*self.fs, &post, most, &report.blocked.numbers, path);
                WaitReason::OlderDropFirst { older, path: path.ok().flatten().unwrap_or_else(|| "one path".to_owned()) }
            }
        };
        self.hold_back(candidate, reason, report);
        true
    }
}
