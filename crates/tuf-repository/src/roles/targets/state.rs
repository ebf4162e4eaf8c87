//! What the role reads before it does anything: root and log, held against its floor.

use std::collections::BTreeMap;

use super::super::{RoleError, recover};
use super::TargetsRole;
use super::draft::Draft;
use crate::floor::{Floor, RecordFloor};
use crate::log::Log;
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

impl TargetsRole {
    /// Reads root and log and holds them against the floor.
    pub(in super::super) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        // Without the key nothing can be done; said here, where every call passes.
        self.trust.signers_of(&RoleName::targets())?;
        let trust = &self.trust;
        self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        if let Err(below) = check_log_floor(&self.log, floor.record) {
            // Read anew each time: the log goes on by another record than this process knows.
            self.log.forget();
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            tracing::warn!("going on above the floor: {below}");
            self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
            self.go_on_above(&floor, now)?;
        }
        recover::check_clock(&mut self.floor, now)?;
        // A record whose floor could not be written when it was made is noted before anything is built on it, or the floor
        // would stay behind for as long as its volume is full.
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

    /// The newest record, as a floor remembers it.
    pub(super) fn reached(&self) -> Option<RecordFloor> {
        self.log.head_digest().map(|digest| RecordFloor { digest, number: self.log.position() })
    }

    /// One record that gives every role a version above all that clients may have seen, and uses up every number that a
    /// lost record may have had.
    pub(super) fn go_on_above(&mut self, floor: &Floor, now: UtcTime) -> Result<(), RoleError> {
        if self.log.head() == 0 {
            return Err(RoleError::Alarm(
                "the commit log is empty: nothing was restored that could be gone on from".into(),
            ));
        }
        let above = recover::role_version_above(floor, &self.log);
        let roles: Vec<RoleName> = self.log.roles().keys().cloned().collect();
        let drafts = self
            .load(&roles)?
            .into_iter()
            .map(|(role, document)| {
                let expires = self.lifetime(&role).expiry(now);
                let document = document.edit(&BTreeMap::new(), above, expires);
                Draft { role, document }
            })
            .collect();
        let lost = floor.record.map_or(0, |record| record.number);
        match self.publish(drafts, BTreeMap::new(), now, Some(lost + recover::MARGIN))? {
            Some((record, _)) => {
                self.floor.recovered(now)?;
                tracing::warn!(
                    log.record = record,
                    "the commit log goes on above the floor: record {record}, every role at version {above} or higher"
                );
                Ok(())
            }
            None => Err(RoleError::Infrastructure("another targets-worker went on first: look again".into())),
        }
    }
}

/// Holds the log against a floor.
pub(in super::super) fn check_log_floor(log: &Log, floor: Option<RecordFloor>) -> Result<(), RoleError> {
    let Some(floor) = floor else { return Ok(()) };
    if log.position() < floor.number {
        return Err(RoleError::Alarm(format!(
            "the commit log ends at record {}, below the floor {}: it was restored or rolled back",
            log.position(),
            floor.number
        )));
    }
    if log.position() == floor.number && log.head_digest() != Some(floor.digest) {
        return Err(RoleError::Alarm(format!(
            "record {} is not the one signed before: its digest differs",
            floor.number
        )));
    }
    Ok(())
}
