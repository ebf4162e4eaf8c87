//! The second half of a cycle: receipts, then the directories' last names.
//!
//! The order is: own state, durable; receipt for the producer, durable; then the directory gets its last name. After a crash
//! at any point in between, the next cycle finds the processing directory and the note in the state, and finishes.

use std::io;

use durable_fs::durable;
use fleet::contract::AddTargetsResult;

use crate::done_name::done_name;
use crate::drop_dir::{DropDir, DropName};
use crate::file_work::FileWork;
use crate::intake::StagedBatch;
use crate::receipt::{self, DropOutcome, RECEIPT_FORMAT, Receipt};
use crate::rejection::{self, RejectReason};
use crate::visibility::{VisibleVersions, verdicts};
use crate::wait_reason::WaitReason;

/// How many drops of a batch were published and rejected, and which wait.
#[derive(Debug, Default)]
pub(crate) struct SettledCounts {
    pub(crate) published: u64,
    pub(crate) rejected: u64,
    /// The drops that the targets-worker does not add yet, and why.
    pub(crate) held: Vec<(DropName, WaitReason)>,
}

impl FileWork {
    /// Ends every drop of a batch by its verdict. `added` holds a verdict for each that does not wait.
    pub(crate) fn settle(
        &self,
        staged: StagedBatch,
        added: &AddTargetsResult,
        versions: VisibleVersions,
    ) -> io::Result<SettledCounts> {
        let mut settled = SettledCounts::default();
        let mut published = Vec::new();
        let mut rejected = Vec::new();
        let verdicts = verdicts(added);
        for (listed, dir) in staged.batch.drops.iter().zip(staged.dirs) {
            if let Some(waits) = added.waiting.iter().find(|w| w.name == listed.name && w.digest == listed.digest) {
                self.memory().put_off(&dir, &waits.reason, self.clock.now().unix());
                settled.held.push((dir.name, WaitReason::TargetsWorker(waits.reason.clone())));
                continue;
            }
            let Some(verdict) = verdicts.get(&(listed.name.as_str(), listed.digest.as_str())) else {
                continue;
            };
            match &verdict.rejected {
                Some(reason) => {
                    let digest = Some(listed.digest.clone());
                    let reason = RejectReason::TargetsWorker(reason.clone());
                    let receipt = Receipt::rejected(&dir.name, digest, &reason, self.now());
                    rejected.push((dir, receipt));
                }
                None => {
                    let receipt = Receipt {
                        format: RECEIPT_FORMAT,
                        name: listed.name.clone(),
                        digest: Some(listed.digest.clone()),
                        outcome: DropOutcome::Published,
                        reason: None,
                        targets: verdict.targets,
                        record: verdict.record,
                        snapshot_version: versions.snapshot,
                        timestamp_version: versions.timestamp,
                        batch: Some(staged.batch.id.clone()),
                        post: listed.post.clone(),
                        finished_at: self.now(),
                    };
                    published.push((dir, receipt));
                }
            }
        }
        (settled.published, settled.rejected) = (published.len() as u64, rejected.len() as u64);
        let receipts: Vec<Receipt> = published.iter().map(|(_, receipt)| receipt.clone()).collect();
        self.receipts.store_published(&*self.fs, &receipts)?;
        self.finish_published(published)?;
        self.finish_rejected(rejected)?;
        self.discard_batch(&staged.batch.dir_name());
        Ok(settled)
    }

    /// Rejects the only drop of a batch that keeps failing, with the reason from the targets-worker.
    pub(crate) fn settle_failing(&self, staged: StagedBatch, reason: String) -> io::Result<SettledCounts> {
        let reason = RejectReason::TargetsWorker(reason);
        let mut rejected = Vec::new();
        for (listed, dir) in staged.batch.drops.iter().zip(staged.dirs) {
            let digest = Some(listed.digest.clone());
            let receipt = Receipt::rejected(&dir.name, digest, &reason, self.now());
            rejected.push((dir, receipt));
        }
        let settled = SettledCounts { rejected: rejected.len() as u64, ..SettledCounts::default() };
        self.finish_rejected(rejected)?;
        self.discard_batch(&staged.batch.dir_name());
        Ok(settled)
    }

    /// Writes the public receipts of published drops, whose receipts the state already holds, and gives their directories
    /// their last names.
    pub(crate) fn finish_published(&self, drops: Vec<(DropDir, Receipt)>) -> io::Result<()> {
        if drops.is_empty() {
            return Ok(());
        }
        let receipts: Vec<Receipt> = drops.iter().map(|(_, receipt)| receipt.clone()).collect();
        receipt::write_public(&*self.fs, &self.settings.post, &receipts)?;
        for (drop, receipt) in &drops {
            tracing::info!(
                drop.name = %drop.name,
                batch.id = receipt.batch.as_deref(),
                targets = receipt.targets,
                "drop published"
            );
        }
        self.give_last_names(drops);
        Ok(())
    }

    /// Gives the directories of drops that ended their last names. One that cannot be renamed is remembered, so that it is
    /// not taken for work, and renamed in a later cycle.
    pub(crate) fn give_last_names(&self, drops: Vec<(DropDir, Receipt)>) {
        for (drop, receipt) in drops {
            let renamed = match receipt.outcome {
                DropOutcome::Published => self.rename_to_done(&drop, &receipt),
                DropOutcome::Rejected => {
                    let dir = self.settings.post.join(&drop.dir);
                    rejection::rename_to_rejected(&*self.fs, &self.settings.post, &dir, &drop.name).map(|_| ())
                }
            };
            if let Err(error) = renamed {
                tracing::warn!(drop.name = %drop.name, %error, "directory of a finished drop not renamed; trying again later");
                self.memory().remember_unrenamed(&drop, receipt);
            }
        }
    }

    /// Gives a published directory its last name in one step, so that a processing directory is always whole.
    fn rename_to_done(&self, drop: &DropDir, receipt: &Receipt) -> io::Result<()> {
        let batch = receipt.batch.as_deref().and_then(|id| id.get(..8)).unwrap_or("0");
        let from = self.settings.post.join(&drop.dir);
        let name = done_name(drop, batch);
        let mut to = name.clone();
        loop {
            if durable::stat_if_there(&*self.fs, &self.settings.post.join(&to))?.is_none() {
                match durable::rename_dir(&*self.fs, &from, &self.settings.post.join(&to)) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(e),
                }
            }
            to = format!("{name}.{}", self.memory().next_number());
        }
    }

    /// Notes the rejections durably, writes the public receipts and `REASON.json`, and renames the directories.
    pub(crate) fn finish_rejected(&self, drops: Vec<(DropDir, Receipt)>) -> io::Result<()> {
        if drops.is_empty() {
            return Ok(());
        }
        let receipts: Vec<Receipt> = drops.iter().map(|(_, receipt)| receipt.clone()).collect();
        let noted = |r: &Receipt| self.memory().rejections.get(&r.name) == Some(r);
        if !receipts.iter().all(noted) {
            self.receipts.store_rejections(&*self.fs, &receipts)?;
            self.memory().rejections.extend(receipts.iter().map(|r| (r.name.clone(), r.clone())));
        }
        receipt::write_public(&*self.fs, &self.settings.post, &receipts)?;
        for (drop, receipt) in &drops {
            tracing::warn!(
                drop.name = %drop.name,
                reason = receipt.reason.as_deref(),
                "drop rejected"
            );
            let post = &self.settings.post;
            if let Err(error) = rejection::write_reason(&*self.fs, post, &post.join(&drop.dir), receipt) {
                tracing::warn!(drop.name = %drop.name, %error, "REASON.json not written; only the receipt holds the reason");
            }
        }
        self.give_last_names(drops);
        self.fs.sync_dir(&self.settings.post)
    }
}
