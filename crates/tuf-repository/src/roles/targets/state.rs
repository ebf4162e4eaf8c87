//! Reads the root and the log, and compares them with the floor, before any other work.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::role::TargetsRole;
use crate::floor::{Floor, RecordFloor};
use crate::roles::error::{Contested, RoleError};
use crate::roles::floor_checks::{check_clock, log_below_floor};
use crate::roles::recover;
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

impl TargetsRole {
    /// Reads the root and the log, and compares them with the floor.
    pub(in crate::roles) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        // No call can work without the key, and every call passes here.
        self.trust.signers_of(&RoleName::targets())?;
        let trust = &self.trust;
        self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        if let Some(below) = log_below_floor(&self.log, floor.record)? {
            // Read from the start each time: after a restore the log continues with another record.
            self.log.forget();
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            tracing::warn!(reason = %below, "resuming above the floor");
            self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
            self.resume_above(&floor, now)?;
        }
        check_clock(&mut self.floor, now)?;
        // The floor may miss a record, because its volume was full when the record was made. It is raised before any work
        // builds on that record, or it would stay behind for as long as the volume is full.
        let (root, reached) = (self.trust.version(), self.reached());
        if self.floor.get().is_none_or(|floor| floor.root != root || floor.record != reached) {
            let highest = recover::highest_version(&self.log);
            self.floor.raise(|floor| {
                floor.root = root;
                floor.record = reached;
                floor.role_version = highest;
            })?;
        }
        Ok(())
    }

    /// The newest record, as the floor stores it.
    pub(super) fn reached(&self) -> Option<RecordFloor> {
        self.log.head_digest().map(|digest| RecordFloor { digest, number: self.log.position() })
    }

    /// Writes one record that gives every role a version above all versions that clients may have seen, and uses up every
    /// number that a lost record may have had.
    pub(super) fn resume_above(&mut self, floor: &Floor, now: UtcTime) -> Result<(), RoleError> {
        if self.log.head() == 0 {
            return Err(RoleError::LogEmpty);
        }
        let above = recover::role_version_above(floor, &self.log);
        let roles: Vec<RoleName> = self.log.roles().keys().cloned().collect();
        let drafts = self
            .load(&roles)?
            .into_iter()
            .map(|(role, document)| {
                let expires = self.lifetime(&role).expiry(now);
                let document = document.edit(&BTreeMap::new(), above, expires);
                Draft::new(role, document)
            })
            .collect();
        let lost = floor.record.map_or(0, |record| record.number);
        match self.publish(drafts, BTreeMap::new(), now, Some(recover::used_up_to(lost, self.log.position())))? {
            Some((record, _)) => {
                let (reached, highest) = (self.reached(), recover::highest_version(&self.log));
                self.floor.recovered(now, |floor| (floor.record, floor.role_version) = (reached, highest))?;
                tracing::warn!(log.record = record, role.min_version = above, "commit log resumed above the floor");
                Ok(())
            }
            None => Err(RoleError::LostRace { contested: Contested::CommitLog, attempts: 1 }),
        }
    }
}
