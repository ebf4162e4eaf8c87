//! The trust of a role: the root chain from a pinned root, and the role's own keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::error::{FloorItem, RoleError};
use super::invalid_metadata::{InvalidMetadata, RoleNotInRoot};
use super::versioned::versioned;
use crate::named_file::NamedFile;
use crate::notices::Notices;
use tuf_core::envelope::Envelope;
use tuf_core::key::{PublicKey, Signer};
use tuf_core::names::{KeyId, RoleName};
use tuf_core::root_chain::{MAX_ROOT_BYTES, RootChain};
use tuf_core::schema::{RoleKeys, Root};
use tuf_core::store::Store;
use tuf_core::time::UtcTime;
use tuf_core::{envelope, verify};

/// The newest root and this process's signers.
pub struct Trust {
    metadata: Arc<dyn Store>,
    chain: RootChain,
    signers: Vec<Arc<dyn Signer>>,
    notices: Notices,
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
    /// [`RoleError::PinnedRootInvalid`].
    pub fn new(pinned: &[u8], metadata: Arc<dyn Store>, signers: Vec<Arc<dyn Signer>>) -> Result<Self, RoleError> {
        let chain = RootChain::from_pinned(pinned).map_err(|source| RoleError::PinnedRootInvalid { source })?;
        Ok(Self { metadata, chain, signers, notices: Notices::default() })
    }

    /// Walks to the newest root on disk that verifies. `floor` is the root version seen before. A file of the next version that
    /// does not verify is no root: the role stays at the last one that does, with a notice.
    ///
    /// # Errors
    /// [`RoleError::RootMissing`] when the repository has no root yet; [`RoleError::RootExpired`] and
    /// [`RoleError::BelowFloor`] for a root that must not be used.
    pub fn refresh(&mut self, floor: u64, now: UtcTime) -> Result<(), RoleError> {
        let role = RoleName::root();
        loop {
            let next = self.chain.version() + 1;
            let name = versioned(&role, next)?;
            let refused = match NamedFile::read(self.metadata.as_ref(), &name, MAX_ROOT_BYTES)? {
                NamedFile::Missing => None,
                NamedFile::Unusable(source) if next <= floor => {
                    return Err(RoleError::FileUnreadable { file: name, source });
                }
                NamedFile::Unusable(error) => Some(error.to_string()),
                NamedFile::Bytes(bytes) => match self.chain.advance(&bytes) {
                    Ok(()) => continue,
                    Err(error) => Some(error.to_string()),
                },
            };
            match refused {
                None => self.notices.clear("root"),
                Some(reason) => self.notices.set(
                    "root",
                    format!(
                        "{name} is ignored, and root version {} is used: {reason}. Clients refuse the repository while the \
                         file is there: remove it, or publish a root of that version with the root keys",
                        self.chain.version()
                    ),
                ),
            }
            break;
        }
        let version = self.chain.version();
        if version < floor {
            return Err(RoleError::BelowFloor { item: FloorItem::Root, floor, found: version });
        }
        if self.metadata.stat(&versioned(&role, version)?)?.is_none() {
            return Err(RoleError::RootMissing { version });
        }
        if self.root().expires <= now {
            return Err(RoleError::RootExpired { version, expires: self.root().expires });
        }
        Ok(())
    }

    /// Conditions that an operator must look at, although the chain can be used.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.notices.texts()
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
    /// [`RoleNotInRoot`].
    pub fn role_keys(&self, role: &RoleName) -> Result<&RoleKeys, RoleNotInRoot> {
        let missing = || RoleNotInRoot { role: role.clone(), root: self.version() };
        self.root().roles.get(role).ok_or_else(missing)
    }

    /// Checks that an envelope carries a threshold of a top-level role's signatures.
    ///
    /// # Errors
    /// [`InvalidMetadata::Signatures`] and [`InvalidMetadata::RoleNotInRoot`].
    pub fn verify(&self, role: &RoleName, envelope: &Envelope) -> Result<(), InvalidMetadata> {
        let keys = self.role_keys(role)?;
        Ok(verify::threshold(envelope.signed(), envelope.signatures(), &self.root().keys, keys)?)
    }

    /// This process's signers whose keys the root gives to `role`, by key id.
    ///
    /// # Errors
    /// [`RoleError::SigningKeysMissing`] when they are fewer than the threshold. It names this process's other keys, which
    /// may be staged for the next root. [`RoleError::RoleNotInRoot`].
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
                None => staged.push(signer.public_key().key_id(tuf_core::key::KeyIdFormat::Spec)),
            }
        }
        if (found.len() as u64) < u64::from(keys.threshold) {
            return Err(RoleError::SigningKeysMissing {
                role: role.clone(),
                found: found.len(),
                threshold: keys.threshold,
                root: self.version(),
                staged,
            });
        }
        Ok(found)
    }

    /// Signs canonical bytes with the role's keys and returns the bytes of the whole file.
    ///
    /// # Errors
    /// As [`Trust::signers_of`], and [`RoleError::SignFailed`].
    pub fn sign(&self, role: &RoleName, signed: &[u8]) -> Result<Vec<u8>, RoleError> {
        Ok(Envelope::to_bytes(signed, &self.signatures(role, signed)?))
    }

    /// The length of the bytes before the signed bytes in a file of the role, where it is known before signing.
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
            match signer.sign(signed) {
                Ok(sig) => signatures.push(envelope::Signature { keyid, sig }),
                Err(source) => return Err(RoleError::SignFailed { role: role.clone(), keyid, source }),
            }
        }
        Ok(signatures)
    }
}
