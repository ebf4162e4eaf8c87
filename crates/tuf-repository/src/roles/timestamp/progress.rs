//! Clients must never see a role go back or vanish.

use tuf_core::document::Document;

use super::role::TimestampRole;
use crate::roles::error::RoleError;
use crate::roles::snapshot_entry::listed_version;
use crate::roles::snapshot_reader::VerifiedSnapshot;

impl TimestampRole {
    /// Checks that no role that clients have seen goes back or vanishes in the snapshot to be shown.
    pub(super) fn check_progress(&self, newest: &VerifiedSnapshot) -> Result<(), RoleError> {
        let Some(served) = &self.served else { return Ok(()) };
        let version = newest.document.version();
        if version < served.timestamp.snapshot.version {
            let served = served.timestamp.snapshot.version;
            return Err(RoleError::SnapshotBehindServed { newest: version, served });
        }
        let Some(shown) = self.snapshot_of(served)? else { return Ok(()) };
        check_versions(&shown.document, &newest.document)
    }
}

/// Checks that `new` lists every role of `old`, in no lower version.
fn check_versions(old: &Document, new: &Document) -> Result<(), RoleError> {
    for (role, before, after) in old.differing(new) {
        let entry = || String::from_utf8_lossy(&role).into_owned();
        match after {
            Some(after) if listed_version(after) >= listed_version(before) => {}
            Some(_) => return Err(RoleError::EntryWouldGoBack { entry: entry() }),
            None => return Err(RoleError::EntryWouldVanish { entry: entry() }),
        }
    }
    Ok(())
}
