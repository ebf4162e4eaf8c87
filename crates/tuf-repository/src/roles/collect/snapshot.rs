//! Old snapshots.

use super::super::{RoleError, SnapshotRole, versioned};
use super::{note_served, remove, remove_stale};
use crate::log::number_of;
use crate::retention::{Collected, Retention, SNAPSHOT_MARGIN};
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

impl SnapshotRole {
    /// Deletes snapshots that no client can be using any more ([`crate::retention`]) and temporary files left behind.
    ///
    /// # Errors
    /// [`RoleError`]; what was deleted until then was rightly deleted.
    pub fn collect(&mut self, retention: &mut Retention, now: UtcTime) -> Result<Collected, RoleError> {
        self.refresh(now)?;
        let metadata = self.repository.metadata.as_ref();
        let temporary = remove_stale(metadata, "", retention.before(now));
        let mut collected = Collected { temporary, ..Collected::default() };
        if !note_served(&self.repository, &self.trust, retention, now)? {
            return Ok(collected);
        }
        let Some(horizon) = retention.horizon(now, SNAPSHOT_MARGIN) else { return Ok(collected) };
        let mut old: Vec<u64> = metadata
            .list("")?
            .iter()
            .filter_map(|name| number_of(name, ".snapshot.json"))
            .filter(|version| *version < horizon.snapshot)
            .collect();
        old.sort_unstable();
        collected.more = old.len() > retention.deletions();
        old.truncate(retention.deletions());
        let role = RoleName::snapshot();
        let names = old.into_iter().map(|version| versioned(&role, version)).collect::<Result<Vec<_>, _>>()?;
        collected.metadata = remove(metadata, &names);
        Ok(collected)
    }
}
