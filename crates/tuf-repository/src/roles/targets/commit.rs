//! Requests become one commit record.

use std::collections::BTreeSet;

use tuf_core::bins::is_bin;
use tuf_core::time::UtcTime;

use super::request::{AppliedRequest, CommitOutcome, Submission};
use super::role::TargetsRole;
use crate::roles::error::{Contested, RoleError};

/// How often a commit starts again because another writer was first.
const COMMIT_ATTEMPTS: usize = 64;

impl TargetsRole {
    /// Applies submissions in one record. Submissions applied before are answered from their records. A base that becomes
    /// due is left to [`TargetsRole::reconcile`], because no caller waits for it.
    ///
    /// # Errors
    /// [`RoleError::PreconditionFailed`] when a removal expects another SHA-256, and [`RoleError::SortedApart`] when tough
    /// would refuse a role afterwards: nothing was changed. [`RoleError`].
    pub fn commit(&mut self, submissions: &[Submission], now: UtcTime) -> Result<CommitOutcome, RoleError> {
        self.refresh(now)?;
        if self.log.head() == 0 {
            self.initialize(now)?;
        }
        let before: BTreeSet<&str> = submissions
            .iter()
            .map(|submission| submission.request.as_str())
            .filter(|request| self.log.outcome(request).is_some())
            .collect();
        let mut commit = CommitOutcome::default();
        for _ in 0..COMMIT_ATTEMPTS {
            let mut seen = BTreeSet::new();
            let pending: Vec<&Submission> = submissions
                .iter()
                .filter(|submission| {
                    self.log.outcome(&submission.request).is_none() && seen.insert(submission.request.as_str())
                })
                .collect();
            if pending.is_empty() {
                commit.applied = submissions.iter().filter_map(|s| self.applied(&s.request, &before)).collect();
                return Ok(commit);
            }
            let (drafts, results) = self.draft(&pending, now)?;
            if let Some((record, versions)) = self.publish(drafts, results, now, None)? {
                commit.record = Some(record);
                commit.bins_changed = versions.keys().filter(|role| is_bin(role)).count() as u64;
                commit.versions = versions
                    .into_iter()
                    .filter(|(role, _)| !is_bin(role))
                    .map(|(role, version)| (role.to_string(), version))
                    .collect();
            } else {
                self.refresh(now)?;
            }
        }
        Err(RoleError::LostRace { contested: Contested::CommitLog, attempts: COMMIT_ATTEMPTS })
    }

    /// The outcome of a request that a record already holds.
    ///
    /// # Errors
    /// [`RoleError`] when the log cannot be read.
    pub fn outcome_of(&mut self, request: &str, now: UtcTime) -> Result<Option<AppliedRequest>, RoleError> {
        self.refresh(now)?;
        Ok(self.applied(request, &BTreeSet::from([request])))
    }

    fn applied(&self, request: &str, before: &BTreeSet<&str>) -> Option<AppliedRequest> {
        let stored = self.log.outcome(request)?;
        Some(AppliedRequest {
            request: request.to_owned(),
            outcome: stored.outcome,
            record: stored.record,
            earlier: before.contains(request),
        })
    }
}
