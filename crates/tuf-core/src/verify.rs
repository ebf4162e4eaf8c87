//! Signature thresholds (specification §5.3.4, §5.4.2, §5.5.3, §5.6.3 and §5.6.7.2).

use std::collections::BTreeMap;

use crate::envelope::{Envelope, Signature};
use crate::key::{PublicKey, SignatureError};
use crate::names::KeyId;
use crate::schema::RoleKeys;

/// A signature by a key of the role that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {keyid}: {error}")]
pub struct RefusedSignature {
    /// The key.
    pub keyid: KeyId,
    /// The reason.
    #[source]
    pub error: SignatureError,
}

/// Fewer valid signatures by distinct keys than the threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{valid} of the {threshold} required signatures are valid{}", refused.as_ref().map(|refused| format!(" ({refused})")).unwrap_or_default())]
pub struct VerifyError {
    /// Distinct keys of the role with a valid signature.
    pub valid: u32,
    /// The number required.
    pub threshold: u32,
    /// The first signature by a key of the role that was not valid.
    #[source]
    pub refused: Option<RefusedSignature>,
}

/// Whether at least `role.threshold` distinct keys of the role signed `signed`.
///
/// Signatures by key ids that are unknown or not of the role are ignored. The same public key under two key ids counts
/// once, as does a key id that is listed twice.
///
/// # Errors
/// [`VerifyError`] with the number of valid signatures.
pub fn threshold(
    signed: &[u8],
    signatures: &[Signature],
    keys: &BTreeMap<KeyId, PublicKey>,
    role: &RoleKeys,
) -> Result<(), VerifyError> {
    let mut valid: Vec<&PublicKey> = Vec::new();
    let mut refused = None;
    // A threshold of 0 cannot be read from metadata; built in memory, it must not mean "unsigned".
    let needed = role.threshold.max(1);
    for signature in signatures {
        if valid.len() as u64 >= u64::from(needed) {
            break;
        }
        if !role.keyids.contains(&signature.keyid) {
            continue;
        }
        let Some(key) = keys.get(&signature.keyid) else {
            continue;
        };
        if valid.iter().any(|counted| counted.is_same_key(key)) {
            continue;
        }
        match key.verify(signed, &signature.sig) {
            Ok(()) => valid.push(key),
            Err(error) if refused.is_none() => {
                refused = Some(RefusedSignature { keyid: signature.keyid.clone(), error })
            }
            Err(_) => {}
        }
    }
    let valid = u32::try_from(valid.len()).unwrap_or(u32::MAX);
    if valid >= needed { Ok(()) } else { Err(VerifyError { valid, threshold: needed, refused }) }
}

/// [`threshold`] for an envelope.
///
/// # Errors
/// As [`threshold`].
pub fn envelope(envelope: &Envelope, keys: &BTreeMap<KeyId, PublicKey>, role: &RoleKeys) -> Result<(), VerifyError> {
    threshold(envelope.signed(), envelope.signatures(), keys, role)
}
