//! Where a client keeps files for the next run.

use std::collections::BTreeMap;

use super::state_directory::{StateDirectory, StateError};
use crate::names::RoleName;
use crate::schema::Snapshot;

/// The files of targets roles, in memory; or all files, in a directory.
pub(super) enum KeptFiles {
    Memory(BTreeMap<RoleName, Vec<u8>>),
    Directory(StateDirectory),
}

impl KeptFiles {
    pub(super) fn save_root(&mut self, file: &[u8], keys_changed: bool) -> Result<(), StateError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Directory(state) => state.save_root(file, keys_changed),
        }
    }

    /// Saves the timestamp or the snapshot.
    pub(super) fn save(&mut self, role: &RoleName, file: &[u8]) -> Result<(), StateError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Directory(state) => state.save(role, file),
        }
    }

    /// The file of a targets role, to be verified and then given back with [`KeptFiles::give_back`].
    pub(super) fn take_role(&mut self, role: &RoleName, max: u64) -> Result<Option<Vec<u8>>, StateError> {
        match self {
            Self::Memory(roles) => Ok(roles.remove(role)),
            Self::Directory(state) => state.read(role, max),
        }
    }

    pub(super) fn give_back(&mut self, role: &RoleName, file: Vec<u8>) {
        if let Self::Memory(roles) = self {
            roles.insert(role.clone(), file);
        }
    }

    pub(super) fn save_role(&mut self, role: &RoleName, file: Vec<u8>) -> Result<(), StateError> {
        match self {
            Self::Memory(roles) => {
                roles.insert(role.clone(), file);
                Ok(())
            }
            Self::Directory(state) => state.save_role(role, &file),
        }
    }

    /// Drops the files of roles that the snapshot does not list.
    pub(super) fn drop_unlisted(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Memory(roles) => roles.retain(|role, _| snapshot.meta.contains_key(role)),
            Self::Directory(state) => state.drop_unlisted(snapshot),
        }
    }
}
