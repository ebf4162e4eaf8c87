//! Checks metadata of the targets role and its delegated roles against the keys that the delegating role names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{ListedBy, RoleError};
use super::invalid_metadata::InvalidMetadata;
use super::limits::MAX_TARGETS;
use super::parallel::beside;
use super::trust::Trust;
use super::versioned::versioned;
use tuf_core::bins::{BINS_ROLE, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::key::PublicKey;
use tuf_core::names::{KeyId, RoleName};
use tuf_core::schema::{Delegations, RoleKeys};
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;
use tuf_core::verify;

/// The keys of the roles below one version of a role.
#[derive(Debug)]
struct DelegatedKeys {
    version: u64,
    keys: BTreeMap<KeyId, PublicKey>,
    roles: BTreeMap<RoleName, RoleKeys>,
}

/// The bytes that a file must hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExpectedBytes {
    /// Length and SHA-256 from a commit record.
    Record(u64, Sha256),
    /// Only the version is known: the signature decides.
    Version,
}

/// Reads and checks targets metadata. Remembers the delegations it has read.
#[derive(Debug)]
pub(super) struct RoleReader {
    metadata: Arc<dyn Store>,
    delegated: BTreeMap<RoleName, DelegatedKeys>,
}

impl RoleReader {
    pub(super) fn new(metadata: Arc<dyn Store>) -> Self {
        Self { metadata, delegated: BTreeMap::new() }
    }

    /// The role that delegates to `role`; `None` for `targets` itself.
    fn parent(role: &RoleName) -> Option<&'static str> {
        if *role == RoleName::targets() {
            None
        } else if is_bin(role) {
            Some(BINS_ROLE)
        } else {
            Some("targets")
        }
    }

    /// Reads the delegations on the way to `role`, in the versions that `version_of` returns. Call it before
    /// [`RoleReader::read`] for one role of each kind (`targets`, `bins`, a bin).
    pub(super) fn prepare(
        &mut self,
        trust: &Trust,
        role: &RoleName,
        version_of: &dyn Fn(&RoleName) -> Option<(u64, ExpectedBytes)>,
    ) -> Result<(), RoleError> {
        let Some(parent) = Self::parent(role) else { return Ok(()) };
        let parent = RoleName::new(parent)?;
        let Some((version, expect)) = version_of(&parent) else {
            return Err(RoleError::DelegatingRoleMissing { role: role.clone(), parent });
        };
        if self.delegated.get(&parent).is_some_and(|known| known.version == version) {
            return Ok(());
        }
        self.prepare(trust, &parent, version_of)?;
        let (document, _) = self.read(trust, &parent, version, expect)?;
        let file = versioned(&parent, version)?;
        let Some(raw) = document.member("delegations") else {
            return Err(RoleError::MetadataInvalid {
                file,
                source: InvalidMetadata::NoDelegations { role: role.clone() },
            });
        };
        let delegations = Delegations::from_canonical(raw)
            .map_err(|source| RoleError::MetadataInvalid { file, source: InvalidMetadata::Delegations { source } })?;
        let roles = delegations
            .roles
            .into_iter()
            .map(|role| (role.name.clone(), RoleKeys::new(role.keyids, role.threshold)))
            .collect();
        self.delegated.insert(parent, DelegatedKeys { version, keys: delegations.keys, roles });
        Ok(())
    }

    /// Reads `VERSION.role.json` and checks length and hash (where known), signatures, type and version.
    pub(super) fn read(
        &self,
        trust: &Trust,
        role: &RoleName,
        version: u64,
        expect: ExpectedBytes,
    ) -> Result<(Document, u64), RoleError> {
        let file = versioned(role, version)?;
        let invalid = |source: InvalidMetadata| RoleError::MetadataInvalid { file: file.clone(), source };
        let Some(bytes) = self.metadata.read(&file, MAX_TARGETS)? else {
            let listed_by = match expect {
                ExpectedBytes::Record(..) => ListedBy::CommitLog,
                ExpectedBytes::Version => ListedBy::Snapshot,
            };
            return Err(RoleError::MetadataMissing { file, listed_by });
        };
        let length = bytes.len() as u64;
        let other_bytes = || RoleError::BytesDiffer { file: file.clone() };
        if matches!(expect, ExpectedBytes::Record(expected, _) if expected != length) {
            return Err(other_bytes());
        }
        let envelope = Envelope::parse(bytes).map_err(|error| invalid(error.into()))?;
        let same_bytes = || match expect {
            ExpectedBytes::Record(_, sha256) => Sha256::of(envelope.file()) == sha256,
            ExpectedBytes::Version => true,
        };
        let (signatures, same_bytes) =
            beside(envelope.file().len(), || self.check_signatures(trust, role, &envelope), same_bytes);
        if !same_bytes {
            return Err(other_bytes());
        }
        signatures.map_err(invalid)?;
        let document =
            Document::parse(DocumentType::Targets, envelope.into_signed()).map_err(|error| invalid(error.into()))?;
        if document.version() != version {
            return Err(invalid(InvalidMetadata::Version { found: document.version() }));
        }
        Ok((document, length))
    }

    /// Checks that a threshold of the keys that the delegating role names has signed.
    fn check_signatures(&self, trust: &Trust, role: &RoleName, envelope: &Envelope) -> Result<(), InvalidMetadata> {
        match Self::parent(role) {
            None => trust.verify(role, envelope),
            Some(parent) => {
                let delegated = self
                    .delegated
                    .iter()
                    .find(|(name, _)| name.as_str() == parent)
                    .and_then(|(_, delegated)| delegated.roles.get(role).map(|keys| (&delegated.keys, keys)));
                let (keys, role_keys) = delegated.ok_or(InvalidMetadata::NotDelegated { parent })?;
                Ok(verify::threshold(envelope.signed(), envelope.signatures(), keys, role_keys)?)
            }
        }
    }
}
