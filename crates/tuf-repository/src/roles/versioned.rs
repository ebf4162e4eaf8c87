//! File names of versions.

use tuf_core::names::{MetadataFileName, RoleName};
use tuf_core::store::{FileName, InvalidFileName, Store};

use super::error::RoleError;
use crate::numbered::MAX_NUMBER;

/// `VERSION.role.json`.
pub(super) fn versioned(role: &RoleName, version: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(MetadataFileName::versioned(role.clone(), version).to_string())
}

/// The most names of targets metadata that are stepped over in a row. Commits that failed leave files: one a minute for days
/// must not stop the role.
const MAX_TAKEN_VERSIONS: u64 = 16_384;

/// The first version from `from` on whose name is free, for a role whose newest version is `verified`. This is a hint: only the
/// exclusive creation decides.
///
/// # Errors
/// [`RoleError::NamesTaken`]; [`RoleError::NumbersUsedUp`].
pub(super) fn free_version(store: &dyn Store, role: &RoleName, verified: u64, from: u64) -> Result<u64, RoleError> {
    for version in from..=verified.saturating_add(MAX_TAKEN_VERSIONS).max(from) {
        if version > MAX_NUMBER {
            return Err(RoleError::NumbersUsedUp { role: role.clone() });
        }
        if store.stat(&versioned(role, version)?)?.is_none() {
            return Ok(version);
        }
    }
    let file = versioned(role, verified.saturating_add(MAX_TAKEN_VERSIONS))?;
    Err(RoleError::NamesTaken { role: role.clone(), count: MAX_TAKEN_VERSIONS, file })
}
