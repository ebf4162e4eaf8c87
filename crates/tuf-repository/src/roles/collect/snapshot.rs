//! Old snapshots.

use super::remove::{remove, remove_stale};
use super::served::note_served;
use crate::numbered::number_of;
use crate::retention::{Collected, Retention, SNAPSHOT_MARGIN_SECONDS};
use crate::roles::error::RoleError;
use crate::roles::snapshot::SnapshotRole;
use crate::roles::versioned::versioned;
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

impl SnapshotRole {
    /// Deletes snapshots that no client can still use ([`crate::retention`]), and temporary files of killed processes.
    ///
    /// # Errors
    /// [`RoleError`]; the deletions before it are correct.
    pub fn collect(&mut self, retention: &mut Retention, now: UtcTime) -> Result<Collected, RoleError> {
        self.refresh(now)?;
        let metadata = self.repository.metadata.as_ref();
        let temporary = remove_stale(metadata, "", retention.before(now));
        let mut collected = Collected { temporary, ..Collected::default() };
        if !note_served(&self.repository, &self.trust, &self.snapshots, retention, now, |_| true)? {
            return Ok(collected);
        }
        let Some(horizon) = retention.horizon(now, SNAPSHOT_MARGIN_SECONDS) else { return Ok(collected) };
        let mut old: Vec<u64> = metadata
            .list("")?
            .iter()
            .filter_map(|name| number_of(name, ".snapshot.json"))
            // Never the newest snapshot, whatever a timestamp says.
            .filter(|version| *version < horizon.snapshot.min(self.snapshots.version()))
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
