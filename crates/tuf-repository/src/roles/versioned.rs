//! File names of versions.

use tuf_core::names::RoleName;
use tuf_core::store::{FileName, InvalidFileName, Store};

use super::error::RoleError;

/// `VERSION.role.json`.
pub(super) fn versioned(role: &RoleName, version: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{version}.{role}.json"))
}

/// The first version from `from` on whose name is free. This is a hint: only the exclusive creation decides.
pub(super) fn free_version(store: &dyn Store, role: &RoleName, from: u64) -> Result<u64, RoleError> {
    let mut version = from;
    while store.stat(&versioned(role, version)?)?.is_some() {
        version += 1;
    }
    Ok(version)
}
