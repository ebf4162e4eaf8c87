//! The drops of the next batch are held against the directories of older ones whose paths are too many to be remembered.

use std::collections::HashMap;

use super::candidate::Candidate;
use super::report::IntakeReport;
use crate::cycle::CycleError;
use crate::drop_dir::{DropDir, DropName};
use crate::file_work::FileWork;
use crate::memory::SharedPath;
use crate::staging;
use crate::wait_reason::WaitReason;

impl FileWork {
    /// Holds back those of `picked` that share a path with an older drop which is held back and whose paths are not remembered,
    /// and with them the younger ones that share a path with those. The others are returned.
    ///
    /// Each directory is walked once for the whole batch; memory is bounded by the paths of the batch. The finding is
    /// remembered, so that the next cycle picks other drops. If a directory cannot be read, every younger drop waits.
    ///
    /// # Errors
    /// The worker is stopping.
    pub(super) fn sieve(
        &self,
        picked: Vec<Candidate>,
        report: &mut IntakeReport,
    ) -> Result<Vec<Candidate>, CycleError> {
        let youngest = picked.last().map_or(0, |candidate| candidate.order);
        let before = report.blocked.unremembered().iter().filter(|(order, _)| *order < youngest);
        let before: Vec<(usize, DropDir)> = before.cloned().collect();
        if before.is_empty() {
            return Ok(picked);
        }
        let mut by_path: Vec<(u64, usize)> = Vec::new();
        for (index, candidate) in picked.iter().enumerate() {
            by_path.extend(candidate.known_paths().iter().map(|path| (*path, index)));
        }
        by_path.sort_unstable();
        let mut waits: HashMap<usize, SharedPath> = HashMap::new();
        let mut unread: Option<(usize, DropName)> = None;
        for (order, older) in before {
            let mut stopping = false;
            let dir = self.settings.post.join(&older.dir);
            let walked = staging::for_each_path(&*self.fs, &dir, &self.path_numbers, &mut |number, path| {
                let first = by_path.partition_point(|(other, _)| *other < number);
                for (_, index) in by_path.iter().skip(first).take_while(|(other, _)| *other == number) {
                    if picked.get(*index).is_some_and(|candidate| candidate.order > order) {
                        waits.entry(*index).or_insert_with(|| shared_path(&older, path));
                    }
                }
                stopping = !self.progress.call();
                !stopping
            });
            if stopping {
                return Err(CycleError::Stopping);
            }
            // Also if it is gone: another monitor may have renamed it.
            if walked.is_err() && unread.as_ref().is_none_or(|(oldest, _)| order < *oldest) {
                unread = Some((order, older.name));
            }
        }
        let mut kept = Vec::with_capacity(picked.len());
        for (index, candidate) in picked.into_iter().enumerate() {
            let reason = match (waits.remove(&index), &unread) {
                (Some(shared), _) => {
                    let (older, path) = (shared.older.clone(), shared.path.clone());
                    self.memory().remember_shared_path(&candidate.drop, shared);
                    // The next cycle picks others in its place.
                    report.more = true;
                    WaitReason::OlderDropFirst { older, path }
                }
                (None, Some((order, older))) if *order < candidate.order => {
                    WaitReason::OlderDropUnknown { older: older.clone() }
                }
                _ => {
                    if !self.must_wait(&candidate, report) {
                        kept.push(candidate);
                    }
                    continue;
                }
            };
            self.hold_back_whole(&candidate, reason, report);
        }
        Ok(kept)
    }
}

fn shared_path(older: &DropDir, path: &str) -> SharedPath {
    SharedPath { older: older.name.clone(), older_id: older.id, path: path.to_owned() }
}
