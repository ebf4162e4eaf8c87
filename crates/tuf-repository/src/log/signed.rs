//! How records and bases are signed and checked.

use serde::Serialize;
use tuf_core::canonical;
use tuf_core::envelope::Envelope;
use tuf_core::store::FileName;

use super::error::{LogError, SignerError};

/// Checks that an envelope is signed by a threshold of the targets keys.
pub type Verify<'a> = &'a dyn Fn(&Envelope) -> bool;
/// Signs canonical bytes with the targets keys and returns the bytes of the whole file.
pub type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, SignerError>;

/// The bytes of a record or base as a signed file.
pub(super) fn signed_file(file: &FileName, body: &impl Serialize, sign: Sign<'_>) -> Result<Vec<u8>, LogError> {
    let file = || file.clone();
    let value = serde_json::to_value(body).map_err(|source| LogError::Encode { file: file(), source })?;
    let signed =
        canonical::value_to_canonical(&value).map_err(|source| LogError::Canonical { file: file(), source })?;
    sign(&signed).map_err(|source| LogError::Sign { file: file(), source })
}
