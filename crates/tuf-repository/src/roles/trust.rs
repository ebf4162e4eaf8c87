//! What a role trusts and signs with: the root chain walked from a pinned root, and the role's own keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{MAX_ROOT, RoleError, versioned};
use tuf_core::envelope::Envelope;
use tuf_core::key::{PublicKey, Signer};
use tuf_core::names::{KeyId, RoleName};
use tuf_core::root_chain::RootChain;
use tuf_core::schema::{RoleKeys, Root};
use tuf_core::store::Store;
use tuf_core::time::UtcTime;
use tuf_core::{envelope, verify};

/// The newest root and this process's signers.
pub struct Trust {
    metadata: Arc<dyn Store>,
    chain: RootChain,
    signers: Vec<Arc<dyn Signer>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("root", &self.chain.version())
            .field("signers", &self.signers.len())
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// Starts from a pinned root.
    ///
    /// # Errors
    /// [`RoleError::Alarm`] when the pinned root is no valid root.
    pub fn new(pinned: &[u8], metadata: Arc<dyn Store>, signers: Vec<Arc<dyn Signer>>) -> Result<Self, RoleError> {
        let chain = RootChain::from_pinned(pinned)
            .map_err(|error| RoleError::Alarm(format!("the pinned root cannot be used: {error}")))?;
        Ok(Self { metadata, chain, signers })
    }

    /// Walks to the newest root on disk. `floor` is the root version seen before.
    ///
    /// # Errors
    /// [`RoleError::Waiting`] when the repository has no root yet; [`RoleError::Alarm`] for a root that does not follow
    /// from the one before it, has expired, or is older than the floor.
    pub fn refresh(&mut self, floor: u64, now: UtcTime) -> Result<(), RoleError> {
        let role = RoleName::root();
        loop {
            let next = self.chain.version() + 1;
            let Some(bytes) = self.metadata.read(&versioned(&role, next)?, MAX_ROOT)? else { break };
            self.chain
                .advance(&bytes)
                .map_err(|error| RoleError::Alarm(format!("{next}.root.json does not follow: {error}")))?;
        }
        let version = self.chain.version();
        if version < floor {
            return Err(RoleError::Alarm(format!(
                "root version {version} is below the floor {floor}: the metadata directory was restored or rolled back"
            )));
        }
        if self.metadata.stat(&versioned(&role, version)?)?.is_none() {
            return Err(RoleError::Waiting(format!(
                "{version}.root.json is not in the repository: not initialized, or the mount is missing"
            )));
        }
        if self.root().expires <= now {
            return Err(RoleError::Alarm(format!("root version {version} expired at {}", self.root().expires)));
        }
        Ok(())
    }

    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &Root {
        self.chain.root()
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.chain.version()
    }

    /// Key ids and threshold of a top-level role.
    ///
    /// # Errors
    /// [`RoleError::Alarm`] when the root does not name it.
    pub fn role_keys(&self, role: &RoleName) -> Result<&RoleKeys, RoleError> {
        self.root().roles.get(role).ok_or_else(|| RoleError::Alarm(format!("the root does not name the role {role}")))
    }

    /// Whether an envelope carries a threshold of a top-level role's signatures.
    ///
    /// # Errors
    /// [`RoleError::Alarm`] saying what is missing.
    pub fn verify(&self, role: &RoleName, envelope: &Envelope) -> Result<(), RoleError> {
        verify::threshold(envelope.signed(), envelope.signatures(), &self.root().keys, self.role_keys(role)?)
            .map_err(|error| RoleError::Alarm(error.to_string()))
    }

    /// Those of our signers whose key the root gives to `role`, by key id.
    ///
    /// # Errors
    /// [`RoleError::Alarm`] when they are fewer than the threshold, naming those not in the root as staged.
    pub fn signers_of(&self, role: &RoleName) -> Result<BTreeMap<KeyId, Arc<dyn Signer>>, RoleError> {
        let keys = self.role_keys(role)?;
        let mut found = BTreeMap::new();
        let mut staged = Vec::new();
        for signer in &self.signers {
            let id = keys.keyids.iter().find(|&id| {
                self.root().keys.get(id).is_some_and(|key: &PublicKey| key.is_same_key(signer.public_key()))
            });
            match id {
                Some(id) => {
                    found.insert(id.clone(), Arc::clone(signer));
                }
                None => staged.push(signer.public_key().key_id(tuf_core::key::KeyIdFormat::Spec).to_string()),
            }
        }
        if (found.len() as u64) < u64::from(keys.threshold) {
            let staged = match staged.as_slice() {
                [] => String::new(),
                ids => format!("; not in root version {} (staged?): {}", self.version(), ids.join(", ")),
            };
            return Err(RoleError::Alarm(format!(
                "{} of {} signing keys of the role {role} are here{staged}",
                found.len(),
                keys.threshold
            )));
        }
        Ok(found)
    }

    /// Signs canonical bytes with the role's keys and gives the bytes of the whole file.
    ///
    /// # Errors
    /// [`RoleError::Alarm`] when a key is missing or does not sign.
    pub fn sign(&self, role: &RoleName, signed: &[u8]) -> Result<Vec<u8>, RoleError> {
        Ok(Envelope::to_bytes(signed, &self.signatures(role, signed)?))
    }

    /// How long what precedes the signed bytes in a file of the role will be, where that is known before it is signed.
    ///
    /// # Errors
    /// As [`Trust::signers_of`].
    pub(super) fn head_length(&self, role: &RoleName) -> Result<Option<usize>, RoleError> {
        let signatures = self.signers_of(role)?.into_iter().map(|(keyid, signer)| {
            signer.signature_length().map(|length| envelope::Signature { keyid, sig: vec![0; length] })
        });
        Ok(signatures.collect::<Option<Vec<_>>>().map(|signatures| Envelope::prefix(&signatures).len()))
    }

    /// The signatures of the role's keys over canonical bytes.
    ///
    /// # Errors
    /// As [`Trust::sign`].
    pub(super) fn signatures(&self, role: &RoleName, signed: &[u8]) -> Result<Vec<envelope::Signature>, RoleError> {
        let signers = self.signers_of(role)?;
        let mut signatures = Vec::with_capacity(signers.len());
        for (keyid, signer) in signers {
            let sig = signer
                .sign(signed)
                .map_err(|error| RoleError::Alarm(format!("key {keyid} of the role {role} does not sign: {error}")))?;
            signatures.push(envelope::Signature { keyid, sig });
        }
        Ok(signatures)
    }
}
