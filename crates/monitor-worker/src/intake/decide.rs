//! The decision about a drop after its copy succeeded or failed.

use std::ffi::OsStr;

use durable_fs::durable;

use crate::cycle::CycleError;
use crate::drop_dir::DropDir;
use crate::file_work::FileWork;
use crate::inbound_dir::StagingDir;
use crate::receipt::Receipt;
use crate::rejection::RejectReason;
use crate::staging::{self, ChangedWhileRead, CopyTarget, DropContents, NotTaken};
use crate::wait_reason::WaitReason;

/// How often a drop may be found changing before it is rejected.
const MAX_CHANGES: u32 = 3;

/// The decision about a drop.
pub(super) enum DropDecision {
    /// It goes into the batch.
    Sign(DropContents),
    /// This post was published before an interruption, and gets that receipt.
    AlreadyPublished(Receipt),
    Reject(RejectReason),
    Hold(WaitReason),
    /// Another monitor finished it meanwhile.
    Gone,
}

impl FileWork {
    /// Copies a drop to `name` in the staging directory and decides. One whose paths were not `listed` before is not signed: a
    /// younger drop may have been taken in with it, or an older one may wait, and share a path with it. Unless the drop is to
    /// be signed, the copy is removed.
    pub(super) fn copy_and_decide(
        &self,
        drop: &DropDir,
        listed: bool,
        staging: &StagingDir,
        name: &str,
    ) -> Result<DropDecision, CycleError> {
        let source = self.settings.post.join(&drop.dir);
        let name = OsStr::new(name);
        let target = CopyTarget { staging: staging.dir.as_ref(), name, batch: &staging.writes };
        let beat = || self.progress.call();
        let copied = staging::copy_drop(&*self.fs, &source, drop.id, &target, &self.settings.limits, &beat);
        // A processing directory is whole until it gets another name. If it still has its name, the copy is of the whole
        // drop; if not, another monitor finished it and the copy may be anything.
        let decision = match durable::stat_if_there(&*self.fs, &source)? {
            Some(stat) if stat.id == drop.id => {
                let copied = copied.and_then(|contents| match listed {
                    true => Ok(contents),
                    false => Err(ChangedWhileRead::NotListed.into()),
                });
                self.decide(drop, copied)?
            }
            _ => DropDecision::Gone,
        };
        if !matches!(decision, DropDecision::Sign(_)) {
            let removed = durable::remove_tree_in(staging.dir.as_ref(), name, &staging.path);
            self.warn_if_kept(&staging.path.join(name), removed);
        }
        Ok(decision)
    }

    fn decide(&self, drop: &DropDir, copied: Result<DropContents, NotTaken>) -> Result<DropDecision, CycleError> {
        if !matches!(copied, Err(NotTaken::Changed(_))) {
            self.memory().changing.remove(&drop.name);
        }
        Ok(match copied {
            Ok(contents) => match self.receipts.published(&*self.fs, &drop.name, &contents.digest, &drop.post())? {
                Some(receipt) => DropDecision::AlreadyPublished(receipt),
                None => DropDecision::Sign(contents),
            },
            Err(NotTaken::Rejected(reason)) => DropDecision::Reject(reason),
            Err(NotTaken::Held(reason)) => DropDecision::Hold(reason),
            Err(NotTaken::Changed(change)) => {
                let mut memory = self.memory();
                let times = memory.changing.entry(drop.name.clone()).or_default();
                *times += 1;
                if *times < MAX_CHANGES {
                    DropDecision::Hold(change.into())
                } else {
                    memory.changing.remove(&drop.name);
                    DropDecision::Reject(change.into())
                }
            }
            Err(NotTaken::OurDirectory(error)) => return Err(error.into()),
            Err(NotTaken::Stopping) => return Err(CycleError::Stopping),
        })
    }
}
