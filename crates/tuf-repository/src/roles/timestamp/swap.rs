//! Shows a timestamp to clients.

use std::sync::Arc;

use tuf_core::names::RoleName;
use tuf_core::store::{FileName, ReplaceOptions};

use super::names::SERVED;
use super::plain_round::PlainRound;
use super::role::TimestampRole;
use super::signed::SignedTimestamp;
use crate::roles::error::{ListedBy, RoleError};
use crate::roles::plain_names;
use crate::roles::versioned::versioned;

impl TimestampRole {
    /// Shows a durable hidden timestamp, unless a higher version exists.
    pub(super) fn swap(&mut self, signed: SignedTimestamp) -> Result<(), RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        let version = signed.timestamp.version;
        // Waiting for another swap is cheaper than undoing it. Without the lock, the reads around the swap decide.
        let _lock = self.lock_served()?;
        if self.is_behind(version)? || self.newer_served_snapshot(&signed).is_some() {
            return Ok(());
        }
        if !self.trust.root().consistent_snapshot {
            let Some(new) = self.snapshot_of(&signed)? else {
                let file = versioned(&RoleName::snapshot(), signed.timestamp.snapshot.version)?;
                return Err(RoleError::MetadataMissing { file, listed_by: ListedBy::Timestamp });
            };
            // Plain files of a restored repository may be of any day: all are compared, not only the changed ones.
            let old = match &self.served {
                Some(served) if self.skip_to == 0 => self.snapshot_of(served)?,
                _ => None,
            };
            plain_names::replace(
                &self.repository,
                &mut self.reader,
                &self.trust,
                old.as_ref().map(|old| old.document.as_ref()),
                &new.document,
                self.policy.store_targets,
            )?;
            // The copies may have taken long enough for a swap of another process.
            if self.is_behind(version)? || self.newer_served_snapshot(&signed).is_some() {
                // The copies above may have replaced newer ones: all are compared again, from the start.
                self.plain_round = PlainRound::default();
                return Ok(());
            }
        }
        metadata.replace(&FileName::new(SERVED)?, &signed.file, ReplaceOptions::default())?;
        // Where the lock did not hold, a slower process may have replaced this timestamp with an older one.
        self.read_served()?;
        match self.current() {
            Some((shown, _)) if shown >= version => Ok(()),
            _ => metadata.replace(&FileName::new(SERVED)?, &signed.file, ReplaceOptions::default()).map_err(Into::into),
        }
    }

    /// The newer snapshot that the served timestamp names, if there is one. Clients refuse a timestamp that goes back.
    pub(super) fn newer_served_snapshot(&self, signed: &SignedTimestamp) -> Option<u64> {
        let served = self.served.as_ref()?.timestamp.snapshot.version;
        (served > signed.timestamp.snapshot.version).then_some(served)
    }

    /// Whether a timestamp of `version` or a higher one is served, or waits to be shown.
    fn is_behind(&mut self, version: u64) -> Result<bool, RoleError> {
        self.read_served()?;
        Ok(self.version() >= version || self.is_overtaken(version)?)
    }
}
