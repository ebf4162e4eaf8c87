//! Signatures of an envelope.

use std::collections::BTreeSet;

use crate::canonical::{ReadError, Reader, Wire, write_hex, write_str};
use crate::key::{SignError, Signer};
use crate::names::KeyId;

/// Most signatures read from one file.
pub const MAX_SIGNATURES: usize = 1024;

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it.
    pub keyid: KeyId,
    /// The raw signature, hexadecimal in the file; empty if another tool reserved a place for it.
    pub sig: Vec<u8>,
}

impl Wire for Signature {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keyid, mut sig) = (None, None);
        reader.object(|key, reader| {
            match key {
                "keyid" => keyid = Some(KeyId::new(&reader.string()?)?),
                "sig" => {
                    let decoded = hex::decode(&*reader.string()?);
                    sig = Some(decoded.map_err(|_| ReadError::new("a signature is hexadecimal"))?);
                }
                _ => {
                    reader.raw()?;
                }
            }
            Ok(())
        })?;
        Ok(Self { keyid: keyid.ok_or(ReadError::missing("keyid"))?, sig: sig.ok_or(ReadError::missing("sig"))? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"keyid\":");
        write_str(out, self.keyid.as_str());
        out.extend_from_slice(b",\"sig\":\"");
        write_hex(out, &self.sig);
        out.extend_from_slice(b"\"}");
    }
}

/// Reads the list of signatures, which must have unique key ids.
pub(super) fn read_signatures(canonical: &str) -> Result<Vec<Signature>, ReadError> {
    let (mut signatures, mut seen) = (Vec::new(), BTreeSet::new());
    Reader::new(canonical).array(|reader| {
        if signatures.len() == MAX_SIGNATURES {
            return Err(ReadError::new(format!("more than {MAX_SIGNATURES} signatures")));
        }
        let signature = Signature::read(reader)?;
        if !seen.insert(signature.keyid.clone()) {
            return Err(ReadError::new(format!("key id {} signs twice", signature.keyid)));
        }
        signatures.push(signature);
        Ok(())
    })?;
    Ok(signatures)
}

/// Signs canonical bytes with each signer, in order.
///
/// # Errors
/// [`SignError`] of the first signer that fails.
pub fn sign(signed: &[u8], signers: &[(KeyId, &dyn Signer)]) -> Result<Vec<Signature>, SignError> {
    signers.iter().map(|(keyid, signer)| Ok(Signature { keyid: keyid.clone(), sig: signer.sign(signed)? })).collect()
}
