//! The second half of a cycle: receipts, then the directories' last names.
//!
//! The order is: own state, durable; receipt for the producer, durable; then the directory gets its last name. At any
//! point in between, the next cycle finds the processing directory and what the state says of it, and finishes.

use std::io;

use durable_fs::durable;
use fleet::contract::AddTargetsResult;

use crate::batch;
use crate::core::Core;
use crate::drop_dir::{DONE, DropDir};
use crate::intake::Staged;
use crate::receipt::{self, FORMAT, Outcome, Receipt};
use crate::reject;

/// Versions with which a batch became visible.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    pub(crate) snapshot: Option<u64>,
    pub(crate) timestamp: Option<u64>,
}

/// How the drops of a batch ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) published: u64,
    pub(crate) rejected: u64,
}

impl Core {
    /// Ends every drop of a batch by its verdict. `added` holds a verdict for each of them.
    pub(crate) fn settle(&self, staged: Staged, added: &AddTargetsResult, versions: Versions) -> io::Result<Settled> {
        let mut published = Vec::new();
        let mut rejected = Vec::new();
        let verdicts = verdicts(added);
        for (listed, dir) in staged.batch.drops.iter().zip(staged.dirs) {
            let Some(verdict) = verdicts.get(&(listed.name.as_str(), listed.digest.as_str())) else {
                continue;
            };
            match &verdict.rejected {
                Some(reason) => {
                    let digest = Some(listed.digest.clone());
                    let receipt = Receipt::rejected(&dir.name, digest, reason.clone(), self.now());
                    rejected.push((dir, receipt));
                }
                None => {
                    let receipt = Receipt {
                        format: FORMAT,
                        name: listed.name.clone(),
                        digest: Some(listed.digest.clone()),
                        outcome: Outcome::Published,
                        reason: None,
                        targets: verdict.targets,
                        record: added.record,
                        snapshot_version: versions.snapshot,
                        timestamp_version: versions.timestamp,
                        batch: Some(staged.batch.id.clone()),
                        finished_at: self.now(),
                    };
                    published.push((dir, receipt));
                }
            }
        }
        let settled = Settled { published: published.len() as u64, rejected: rejected.len() as u64 };
        let receipts: Vec<Receipt> = published.iter().map(|(_, receipt)| receipt.clone()).collect();
        self.receipts.store_published(&*self.fs, &receipts)?;
        self.finish_published(published)?;
        self.finish_rejected(rejected)?;
        self.discard_batch(&batch::dir_name(&staged.batch));
        Ok(settled)
    }

    /// Ends the only drop of a batch that keeps failing.
    pub(crate) fn settle_failing(&self, staged: Staged, reason: &str) -> io::Result<Settled> {
        let mut rejected = Vec::new();
        for (listed, dir) in staged.batch.drops.iter().zip(staged.dirs) {
            let digest = Some(listed.digest.clone());
            let receipt = Receipt::rejected(&dir.name, digest, reason.to_owned(), self.now());
            rejected.push((dir, receipt));
        }
        let settled = Settled { published: 0, rejected: rejected.len() as u64 };
        self.finish_rejected(rejected)?;
        self.discard_batch(&batch::dir_name(&staged.batch));
        Ok(settled)
    }

    /// Takes a batch directory out of use; a failure is only logged, because the directory is collected by age.
    pub(crate) fn discard_batch(&self, dir_name: &str) {
        if let Err(e) = self.move_to_trash(&self.settings.inbound.join(dir_name)) {
            tracing::warn!(batch.dir = dir_name, error = %e, "batch directory cannot be put away now");
        }
        self.memory().in_flight = None;
    }

    /// Tells the producers of drops whose receipts the state holds, and puts their directories away.
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
                "drop {} is published",
                drop.name
            );
        }
        self.last_names(drops);
        Ok(())
    }

    /// Gives directories of drops that ended their last names. One that cannot be renamed is not work any more, and is
    /// tried again in the next cycle.
    pub(crate) fn last_names(&self, drops: Vec<(DropDir, Receipt)>) {
        for (drop, receipt) in drops {
            let renamed = match receipt.outcome {
                Outcome::Published => self.put_away(&drop, &receipt),
                Outcome::Rejected => {
                    let dir = self.settings.post.join(&drop.dir);
                    reject::set_aside(&*self.fs, &self.settings.post, &dir, &drop.name).map(|_| ())
                }
            };
            if let Err(e) = renamed {
                tracing::warn!(drop.name = %drop.name, error = %e, "directory of a finished drop cannot be renamed now");
                self.memory().stick(&drop, receipt);
            }
        }
    }

    /// Gives a published directory its last name in one step, so that a processing directory is always whole.
    fn put_away(&self, drop: &DropDir, receipt: &Receipt) -> io::Result<()> {
        let batch = receipt.batch.as_deref().and_then(|id| id.get(..8)).unwrap_or("0");
        let from = self.settings.post.join(&drop.dir);
        let mut to = format!("{DONE}{}.{batch}", drop.name);
        loop {
            if durable::stat_if_there(&*self.fs, &self.settings.post.join(&to))?.is_none() {
                match durable::rename_dir(&*self.fs, &from, &self.settings.post.join(&to)) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(e),
                }
            }
            to = format!("{DONE}{}.{batch}.{}", drop.name, self.memory().next_number());
        }
    }

    /// Notes the rejections durably, tells the producers, and sets the directories aside.
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
                "drop {} is rejected",
                drop.name
            );
            let post = &self.settings.post;
            if let Err(e) = reject::write_reason(&*self.fs, post, &post.join(&drop.dir), receipt) {
                tracing::warn!(drop.name = %drop.name, error = %e, "only the receipt holds the reason");
            }
        }
        self.last_names(drops);
        self.fs.sync_dir(&self.settings.post)
    }
}

/// The verdicts by drop identity.
pub(crate) fn verdicts(
    added: &AddTargetsResult,
) -> std::collections::HashMap<(&str, &str), &fleet::contract::DropVerdict> {
    added.drops.iter().map(|v| ((v.name.as_str(), v.digest.as_str()), v)).collect()
}
