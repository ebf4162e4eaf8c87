//! The staging directory: the drops of a batch, copied and described, then made visible.

use std::ffi::OsStr;
use std::io::Write as _;

use fleet::batch::{BATCH_FILE, Batch, BatchDrop};

use super::candidate::Candidate;
use super::decide::DropDecision;
use super::report::{IntakeReport, StagedBatch};
use crate::cycle::CycleError;
use crate::drop_dir::DropDir;
use crate::file_work::FileWork;
use crate::inbound_dir::StagingDir;
use crate::receipt::Receipt;

impl FileWork {
    /// Copies the drops into a staging directory, ends those that cannot be signed or were published before, and makes the
    /// rest visible as a batch.
    pub(super) fn stage(
        &self,
        drops: Vec<Candidate>,
        report: &mut IntakeReport,
    ) -> Result<Option<StagedBatch>, CycleError> {
        if drops.is_empty() {
            return Ok(None);
        }
        let staging = self.new_staging_dir()?;
        let staged = self.stage_into(&staging, drops, report);
        if !matches!(staged, Ok(Some(_))) {
            self.remove_quietly(&staging.path);
        }
        staged
    }

    fn stage_into(
        &self,
        staging: &StagingDir,
        drops: Vec<Candidate>,
        report: &mut IntakeReport,
    ) -> Result<Option<StagedBatch>, CycleError> {
        let read_at = self.mount_time();
        let mut accepted = Vec::new();
        let mut published = Vec::new();
        let mut rejected = Vec::new();
        for (index, candidate) in drops.into_iter().enumerate() {
            if self.must_wait(&candidate, report) {
                continue;
            }
            // One that is not listed is at most rejected.
            let listed = !candidate.is_unknown();
            if listed && let Some(reason) = self.lacks_room_now(&candidate.size)? {
                self.hold_back_whole(&candidate, reason, report);
                continue;
            }
            let read = read_at.map(|time| self.read_mark(&candidate.drop, time, candidate.newest));
            let drop = DropDir { read, ..candidate.drop.clone() };
            match self.copy_and_decide(&drop, listed, staging, &index.to_string())? {
                DropDecision::Sign(contents) => accepted.push((index, drop, contents)),
                DropDecision::AlreadyPublished(receipt) => published.push((drop, receipt)),
                DropDecision::Reject(reason) => {
                    let receipt = Receipt::rejected(&drop.name, None, &reason, self.now());
                    rejected.push((drop, receipt));
                }
                DropDecision::Hold(reason) => self.hold_back_whole(&candidate, reason, report),
                DropDecision::Gone => {}
            }
        }
        report.published += published.len() as u64;
        report.rejected += rejected.len() as u64;
        self.finish_published(published)?;
        self.finish_rejected(rejected)?;
        if accepted.is_empty() {
            return Ok(None);
        }
        let mut dirs = Vec::with_capacity(accepted.len());
        let mut listed = Vec::with_capacity(accepted.len());
        for (index, drop, contents) in accepted {
            listed.push(BatchDrop {
                dir: index.to_string(),
                name: drop.name.as_str().to_owned(),
                digest: contents.digest,
                files: contents.files,
                bytes: contents.bytes,
                post: Some(drop.post()),
            });
            dirs.push(drop);
        }
        let batch = Batch::new(listed);
        let mut file = staging.dir.create_file(OsStr::new(BATCH_FILE), 0o664)?;
        file.write_all(&serde_json::to_vec(&batch).map_err(std::io::Error::from)?)?;
        // Closed before the sync: some file systems write a file back only when it is closed.
        staging.writes.close(file)?;
        staging.writes.sync()?;
        self.make_visible(&staging.path, &batch)?;
        Ok(Some(StagedBatch { batch, dirs }))
    }
}
