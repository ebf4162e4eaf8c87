//! Loading targets roles, the top-level one and those delegated to (specification §5.6).

use std::sync::Arc;

use super::check::{is_listed, is_version, not_expired, parse_envelope, read_metadata};
use super::error::ClientError;
use super::fetch::Fetch;
use super::loaded_role::LoadedRole;
use super::read::read_all;
use super::trusted::Trusted;
use super::verifying::Client;
use crate::names::RoleName;
use crate::schema::{RoleMeta, Targets};
use crate::time::UtcTime;
use crate::verify;

/// A verified role that delegates to others.
#[derive(Debug, Clone)]
pub(super) struct DelegatingRole {
    pub(super) name: RoleName,
    pub(super) role: Arc<LoadedRole>,
}

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// Reads and verifies a targets role, unless it is loaded already. `parent` delegates to it; `None` for the
    /// top-level role.
    pub(super) fn load(
        &mut self,
        parent: Option<&DelegatingRole>,
        role: &RoleName,
        now: UtcTime,
    ) -> Result<Arc<LoadedRole>, ClientError> {
        let key = (parent.map(|parent| parent.name.clone()), role.clone());
        if let Some(known) = self.roles.get(&key) {
            not_expired(role, &known.targets, now)?;
            return Ok(Arc::clone(known));
        }
        let Some(Trusted { metadata: snapshot, .. }) = &self.snapshot else {
            return Err(ClientError::NotRefreshed);
        };
        let listed = snapshot.meta.get(role).ok_or_else(|| ClientError::NotInSnapshot { role: role.clone() })?.clone();
        let (path, file) = self.fetch_listed(role, &listed, self.limits.targets_bytes)?;
        let envelope = parse_envelope(&path, file)?;
        match parent {
            None => self.chain.verify(role, &envelope),
            Some(parent) => {
                let not_delegated = || ClientError::NotDelegated { role: role.clone(), parent: parent.name.clone() };
                let keys = parent.role.keys_for(role).ok_or_else(not_delegated)?;
                let delegations = parent.role.targets.delegations.as_ref().ok_or_else(not_delegated)?;
                verify::envelope(&envelope, &delegations.keys, &keys)
            }
        }
        .map_err(|error| ClientError::Signature { path: path.clone(), error })?;
        let targets: Targets = read_metadata(&path, &envelope)?;
        drop(envelope);
        is_version(&path, &listed, targets.version)?;
        not_expired(role, &targets, now)?;
        let loaded = Arc::new(LoadedRole::new(targets));
        self.roles.insert(key, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Reads the file of a role as its lister describes it, and returns its path and bytes.
    pub(super) fn fetch_listed(
        &self,
        role: &RoleName,
        listed: &RoleMeta,
        max: u64,
    ) -> Result<(String, Vec<u8>), ClientError> {
        let path = if self.chain.root().consistent_snapshot {
            format!("{}.{role}.json", listed.version)
        } else {
            format!("{role}.json")
        };
        let file = read_all(&self.metadata, &path, listed.length.unwrap_or(max))?
            .ok_or_else(|| ClientError::Missing { path: path.clone() })?;
        is_listed(&path, listed, &file)?;
        Ok((path, file))
    }
}
