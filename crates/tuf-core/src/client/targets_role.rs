//! Loading targets roles, the top-level one and those delegated to (specification §5.6).

use std::sync::Arc;

use super::check::{is_listed, is_version, not_expired, parse_envelope};
use super::error::ClientError;
use super::fetch::Fetch;
use super::loaded_role::LoadedRole;
use super::read::read_all;
use super::trusted::Trusted;
use super::verifying::Client;
use crate::names::{MetadataFileName, RoleName};
use crate::schema::{ForeignTargets, RoleMeta};
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
        let path = self.file_name(role, &listed);
        if let Some(file) = self.kept.take_role(role, listed.length.unwrap_or(self.limits.targets_bytes))?
            && is_listed(&path.to_string(), &listed, &file).is_ok()
            && let Ok((verified, file)) = self.verify_role(parent, role, &listed, file, now)
        {
            self.kept.give_back(role, file);
            return Ok(self.trust_role(key, verified));
        }
        let (_, file) = self.fetch_listed(role, &listed, self.limits.targets_bytes)?;
        let (verified, file) = self.verify_role(parent, role, &listed, file, now)?;
        self.kept.save_role(role, file)?;
        Ok(self.trust_role(key, verified))
    }

    fn trust_role(&mut self, key: (Option<RoleName>, RoleName), verified: ForeignTargets) -> Arc<LoadedRole> {
        if !verified.unusable.is_empty() {
            tracing::warn!(role = %key.1, targets = verified.unusable.len(), "targets with invalid paths set aside");
            self.unusable.insert(key.1.clone(), verified.unusable);
        }
        let loaded = Arc::new(LoadedRole::new(verified.metadata));
        self.roles.insert(key, Arc::clone(&loaded));
        loaded
    }

    /// Verifies the file of a role whose length and hashes were checked, and returns its bytes too.
    fn verify_role(
        &self,
        parent: Option<&DelegatingRole>,
        role: &RoleName,
        listed: &RoleMeta,
        file: Vec<u8>,
        now: UtcTime,
    ) -> Result<(ForeignTargets, Vec<u8>), ClientError> {
        let path = self.file_name(role, listed).to_string();
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
        let targets = ForeignTargets::from_envelope(&envelope);
        let targets = targets.map_err(|error| ClientError::Parse { path: path.clone(), error })?;
        is_version(&path, listed, targets.metadata.version)?;
        not_expired(role, &targets.metadata, now)?;
        Ok((targets, envelope.into_file()))
    }

    /// The name of the file of a role that `listed` describes.
    fn file_name(&self, role: &RoleName, listed: &RoleMeta) -> MetadataFileName {
        if self.chain.root().consistent_snapshot {
            MetadataFileName::versioned(role.clone(), listed.version)
        } else {
            MetadataFileName::unversioned(role.clone())
        }
    }

    /// Reads the file of a role as its lister describes it, and returns its path and bytes.
    pub(super) fn fetch_listed(
        &self,
        role: &RoleName,
        listed: &RoleMeta,
        max: u64,
    ) -> Result<(String, Vec<u8>), ClientError> {
        let name = self.file_name(role, listed);
        let path = name.to_string();
        let file = read_all(&self.metadata, &name, listed.length.unwrap_or(max))?
            .ok_or_else(|| ClientError::Missing { path: path.clone() })?;
        is_listed(&path, listed, &file)?;
        Ok((path, file))
    }
}
