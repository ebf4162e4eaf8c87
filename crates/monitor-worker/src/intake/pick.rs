//! Which drops make the next batch, and which are held back.

use std::collections::HashSet;
use std::io;

use super::report::IntakeReport;
use crate::drop_dir::DropDir;
use crate::file_work::FileWork;
use crate::staging::{self, DirSize};
use crate::unusable_dir::unusable_dir;
use crate::wait_reason::WaitReason;

/// Space that a file or directory takes beyond its bytes.
const BLOCK_BYTES: u64 = 4096;

impl FileWork {
    /// The drops of the next batch: oldest first, within the bounds. A drop for which there is too little free space is held
    /// back, and others pass it; one that alone exceeds the bounds of a batch goes alone.
    pub(super) fn pick(&self, candidates: Vec<DropDir>, report: &mut IntakeReport) -> io::Result<Vec<DropDir>> {
        let limits = &self.settings.limits;
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let max_drops = self.memory().max_drops.unwrap_or(limits.drops).min(limits.drops).max(1);
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        let mut free_bytes = space.bytes.saturating_sub(limits.reserve_bytes);
        let mut free_inodes = space.inodes.saturating_sub(limits.reserve_inodes);
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let mut picked: Vec<DropDir> = Vec::new();
        let mut names = HashSet::new();
        for drop in candidates {
            if picked.len() >= max_drops {
                report.more = true;
                break;
            }
            if names.contains(&drop.name) {
                report.more = true;
                continue;
            }
            let path = self.settings.post.join(&drop.dir);
            let size = match staging::measure(&*self.fs, &path, limits.files_per_drop) {
                Ok(size) => size,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                // The copy finds out whose fault it is.
                Err(_) => DirSize::default(),
            };
            let needed_inodes = size.files + size.dirs + 1;
            let needed_bytes = size.bytes.saturating_add(needed_inodes.saturating_mul(BLOCK_BYTES));
            if needed_bytes > free_bytes || needed_inodes > free_inodes {
                let reason = WaitReason::NoRoom { needed_bytes, needed_inodes, free_bytes, free_inodes };
                self.hold_back(&drop, reason, report);
                continue;
            }
            if self.must_wait(&drop, report) {
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
            names.insert(drop.name.clone());
            picked.push(drop);
        }
        Ok(picked)
    }

    /// Holds a drop back, and with it every younger drop that has one of its paths.
    pub(super) fn hold_back(&self, drop: &DropDir, reason: WaitReason, report: &mut IntakeReport) {
        // The paths of a drop that cannot be listed are unknown; no other drop waits for it.
        let paths = staging::paths(&*self.fs, &self.settings.post.join(&drop.dir), self.settings.limits.files_per_drop);
        report.blocked.extend(paths.unwrap_or_default().into_iter().map(|path| (path, drop.name.clone())));
        report.held.push((drop.name.clone(), reason));
    }

    /// Whether `drop` has to wait for an older one that is held back; if so it is held back too.
    pub(super) fn must_wait(&self, drop: &DropDir, report: &mut IntakeReport) -> bool {
        if report.blocked.is_empty() {
            return false;
        }
        let paths = staging::paths(&*self.fs, &self.settings.post.join(&drop.dir), self.settings.limits.files_per_drop);
        let shared = paths.unwrap_or_default().into_iter().find_map(|path| {
            let older = report.blocked.get(&path)?.clone();
            (older != drop.name).then_some((path, older))
        });
        let Some((path, older)) = shared else { return false };
        self.hold_back(drop, WaitReason::OlderDropFirst { older, path }, report);
        true
    }
}
