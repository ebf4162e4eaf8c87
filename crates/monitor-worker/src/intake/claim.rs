//! Ready drops become processing ones.

use std::ffi::OsString;
use std::io;

use durable_fs::durable;

use super::report::IntakeReport;
use crate::drop_dir::{DropDir, DropName};
use crate::file_work::FileWork;
use crate::wait_reason::WaitReason;

impl FileWork {
    /// Renames ready drops to processing, durably. A drop that another monitor took first is left out.
    pub(super) fn claim(&self, picked: Vec<DropDir>, report: &mut IntakeReport) -> io::Result<Vec<DropDir>> {
        let mut claimed = Vec::with_capacity(picked.len());
        let mut failed = false;
        for mut drop in picked {
            if self.must_wait(&drop, report) {
                continue;
            }
            self.forget_rejection(&drop.name)?;
            let to = OsString::from(drop.name.processing_dir());
            let post = &self.settings.post;
            match durable::rename_dir(&*self.fs, &post.join(&drop.dir), &post.join(&to)) {
                Ok(true) => {
                    drop.dir = to;
                    claimed.push(drop);
                }
                Ok(false) => report.more = true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    failed = true;
                    self.hold_back(&drop, WaitReason::NotRenamed(e), report);
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
