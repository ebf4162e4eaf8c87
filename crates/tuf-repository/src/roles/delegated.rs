//! Checks metadata of the targets role and of what it delegates, against the keys that the delegating role names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::parallel::beside;
use super::{MAX_TARGETS, RoleError, Trust, versioned};
use tuf_core::bins::{BINS_ROLE, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::key::PublicKey;
use tuf_core::names::{KeyId, RoleName};
use tuf_core::schema::{Delegations, RoleKeys};
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;
use tuf_core::verify;

/// The keys one version of a role delegates to others.
#[derive(Debug)]
struct Delegated {
    version: u64,
    keys: BTreeMap<KeyId, PublicKey>,
    roles: BTreeMap<RoleName, RoleKeys>,
}

/// Which bytes a file must hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// Length and SHA-256 from a commit record.
    Record(u64, Sha256),
    /// Nothing is known but the version: the signature decides.
    Version,
}

/// Reads and checks roles; remembers the delegations it has read.
#[derive(Debug)]
pub(super) struct RoleReader {
    metadata: Arc<dyn Store>,
    delegated: BTreeMap<RoleName, Delegated>,
}

impl RoleReader {
    pub(super) fn new(metadata: Arc<dyn Store>) -> Self {
        Self { metadata, delegated: BTreeMap::new() }
    }

    /// The role that delegates to `role`; `None` for `targets` itself.
    fn parent(role: &RoleName) -> Option<&'static str> {
        match role.as_str() {
            "targets" => None,
            _ if is_bin(role) => Some(BINS_ROLE),
            _ => Some("targets"),
        }
    }

    /// Makes sure that the delegations on the way to `role` are known in the versions that `version_of` names. Must be
    /// called before [`RoleReader::read`] for one role of each kind.
    pub(super) fn prepare(
        &mut self,
        trust: &Trust,
        role: &RoleName,
        version_of: &dyn Fn(&RoleName) -> Option<(u64, Expect)>,
    ) -> Result<(), RoleError> {
        let Some(parent) = Self::parent(role) else { return Ok(()) };
        let parent = RoleName::new(parent).map_err(|error| RoleError::Alarm(error.to_string()))?;
        let Some((version, expect)) = version_of(&parent) else {
            return Err(RoleError::Alarm(format!("nothing delegates to the role {role}: {parent} is missing")));
        };
        if self.delegated.get(&parent).is_some_and(|known| known.version == version) {
            return Ok(());
        }
        self.prepare(trust, &parent, version_of)?;
        let (document, _) = self.read(trust, &parent, version, expect)?;
        let raw = document.member("delegations").ok_or_else(|| {
            RoleError::Alarm(format!("{version}.{parent}.json delegates nothing, but {role} is in the repository"))
        })?;
        let delegations = Delegations::from_canonical(raw)
            .map_err(|error| RoleError::Alarm(format!("the delegations of {version}.{parent}.json: {error}")))?;
        let roles = delegations
            .roles
            .into_iter()
            .map(|role| (role.name.clone(), RoleKeys::new(role.keyids, role.threshold)))
            .collect();
        self.delegated.insert(parent, Delegated { version, keys: delegations.keys, roles });
        Ok(())
    }

    /// Reads `VERSION.role.json` and checks length and hash (where known), signatures, type and version.
    pub(super) fn read(
        &self,
        trust: &Trust,
        role: &RoleName,
        version: u64,
        expect: Expect,
    ) -> Result<(Document, u64), RoleError> {
        let name = versioned(role, version)?;
        let alarm = |reason: String| RoleError::Alarm(format!("{name}: {reason}"));
        let bytes =
            self.metadata.read(&name, MAX_TARGETS)?.ok_or_else(|| alarm("it is referred to but not there".into()))?;
        let length = bytes.len() as u64;
        let other_bytes = || alarm("its bytes are not those its commit record names".into());
        if matches!(expect, Expect::Record(expected, _) if expected != length) {
            return Err(other_bytes());
        }
        let envelope = Envelope::parse(bytes).map_err(|error| alarm(error.to_string()))?;
        let same_bytes = || match expect {
            Expect::Record(_, sha256) => Sha256::of(envelope.file()) == sha256,
            Expect::Version => true,
        };
        let (signatures, same_bytes) =
            beside(envelope.file().len(), || self.check_signatures(trust, role, &envelope), same_bytes);
        if !same_bytes {
            return Err(other_bytes());
        }
        signatures.map_err(alarm)?;
        let document =
            Document::parse(DocumentType::Targets, envelope.into_signed()).map_err(|error| alarm(error.to_string()))?;
        if document.version() != version {
            return Err(alarm(format!("it says it is version {}", document.version())));
        }
        Ok((document, length))
    }

    /// Whether a threshold of the keys that the delegating role names has signed.
    fn check_signatures(&self, trust: &Trust, role: &RoleName, envelope: &Envelope) -> Result<(), String> {
        match Self::parent(role) {
            None => trust.verify(role, envelope).map_err(|error| error.to_string()),
            Some(parent) => {
                let delegated = self
                    .delegated
                    .iter()
                    .find(|(name, _)| name.as_str() == parent)
                    .and_then(|(_, delegated)| delegated.roles.get(role).map(|keys| (&delegated.keys, keys)));
                let (keys, role_keys) = delegated.ok_or_else(|| format!("{parent} does not delegate to it"))?;
                verify::threshold(envelope.signed(), envelope.signatures(), keys, role_keys)
                    .map_err(|error| error.to_string())
            }
        }
    }
}
