//! Ready drops become processing ones.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;

use durable_fs::{FileKind, durable};

use super::candidate::Candidate;
use super::report::IntakeReport;
use crate::drop_dir::DropName;
use crate::file_work::FileWork;
use crate::wait_reason::WaitReason;

impl FileWork {
    /// Renames ready drops to processing, durably and in order. A drop that another monitor took first is left out.
    ///
    /// The rename changes the time by which drops are ordered. Of two drops that share a path, the later one is renamed in a
    /// later tick of the mount's clock, so that any monitor finds them in their order after a restart.
    pub(super) fn claim(&self, picked: Vec<Candidate>, report: &mut IntakeReport) -> io::Result<Vec<Candidate>> {
        let mut claimed: Vec<Candidate> = Vec::with_capacity(picked.len());
        let mut failed = false;
        // When the last drop with a path was renamed; `None` for one that stays ready until the next cycle.
        let mut renamed: HashMap<u64, Option<(i64, u32)>> = HashMap::new();
        // The same of any drop, and of those whose paths are not known: each may share one with any other.
        let (mut any, mut unknown) = (Vec::new(), Vec::new());
        for mut candidate in picked {
            if self.must_wait(&candidate, report) {
                continue;
            }
            let paths = candidate.known_paths().iter();
            let mut shared = paths.filter_map(|path| renamed.get(path)).copied().collect::<Vec<_>>();
            shared.extend(if candidate.is_unknown() { &any } else { &unknown });
            let after = shared.iter().copied().flatten().max();
            if shared.contains(&None) || after.is_some_and(|after| !self.has_ticked_since(after)) {
                report.more = true;
                renamed.extend(candidate.known_paths().iter().map(|path| (*path, None)));
                any.push(None);
                unknown.extend(candidate.is_unknown().then_some(None));
                continue;
            }
            if after.is_some() {
                // A power cut must not keep the later rename and lose the earlier one.
                self.fs.sync_dir(&self.settings.post)?;
            }
            let drop = &mut candidate.drop;
            self.forget_rejection(&drop.name)?;
            let to = OsString::from(drop.name.processing_dir());
            let post = &self.settings.post;
            match durable::rename_dir(&*self.fs, &post.join(&drop.dir), &post.join(&to)) {
                Ok(true) => {
                    let Some(stat) = durable::stat_if_there(&*self.fs, &post.join(&to))? else { continue };
                    self.memory().claimed.insert(drop.id, drop.ctime.0);
                    drop.dir = to;
                    drop.ctime = (stat.ctime, stat.ctime_nanos);
                    let time = Some(candidate.drop.ctime);
                    renamed.extend(candidate.known_paths().iter().map(|path| (*path, time)));
                    any.push(time);
                    unknown.extend(candidate.is_unknown().then_some(time));
                    claimed.push(candidate);
                }
                Ok(false) => match durable::stat_if_there(&*self.fs, &post.join(&to))? {
                    Some(stat) if stat.kind != FileKind::Dir => {
                        let name = to.to_string_lossy().into_owned();
                        self.hold_back_whole(&candidate, WaitReason::ProcessingNameTaken { name }, report);
                    }
                    // A drop of that name is taken in already: the next cycle finds it, and then this one waits.
                    _ => {
                        report.more = true;
                        renamed.extend(candidate.known_paths().iter().map(|path| (*path, None)));
                        any.push(None);
                        unknown.extend(candidate.is_unknown().then_some(None));
                    }
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    failed = true;
                    self.hold_back_whole(&candidate, WaitReason::NotRenamed(e), report);
                }
            }
        }
        if failed && claimed.is_empty() {
            // If none can be renamed, no drop is at fault: the cycle fails.
            let last = report.held.drain(..).rev().find_map(|(_, reason)| match reason {
                WaitReason::NotRenamed(error) => Some(error),
                _ => None,
            });
            return last.map_or_else(|| Ok(Vec::new()), Err);
        }
        if !claimed.is_empty() {
            self.fs.sync_dir(&self.settings.post)?;
        }
        report.taken += claimed.len() as u64;
        Ok(claimed)
    }

    /// Forgets a noted rejection of an earlier drop of this name: it says nothing about the one that is posted now.
    fn forget_rejection(&self, name: &DropName) -> io::Result<()> {
        let noted = self.memory().rejections.get(name.as_str()).cloned();
        if let Some(receipt) = noted {
            self.receipts.finish_rejection(&*self.fs, &receipt)?;
            self.receipts.sync_rejections(&*self.fs)?;
            self.memory().rejections.remove(name.as_str());
        }
        Ok(())
    }
}
