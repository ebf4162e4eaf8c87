//! The envelope around signed metadata: `{"signatures":[…],"signed":…}` (specification §4.2).

use std::collections::BTreeSet;
use std::ops::Range;

use crate::canonical::{
    CanonicalError, JsonScanner, ReadError, Reader, Wire, checked_text, is_canonical, to_json, write_hex, write_str,
};
use crate::key::{SignError, Signer};
use crate::names::KeyId;

/// Most signatures read from one file.
pub const MAX_SIGNATURES: usize = 1024;

/// What follows the signed JSON in a file.
pub const SUFFIX: &[u8] = b"}";

/// Why bytes are not signed metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not JSON, or without canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// JSON of another shape; the text says where and what.
    #[error("{0}")]
    Shape(#[from] ReadError),
    /// Bytes given as canonical are not.
    #[error("the bytes are not canonical JSON")]
    NotCanonical,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it.
    pub keyid: KeyId,
    /// The raw signature, hexadecimal in the file; empty where others announce a signature still to come.
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

/// Signed metadata as read from a file: the signatures, and the canonical bytes they are over.
///
/// Holds the file itself too; where the signed part in it already is canonical, nothing is copied. Nothing is verified
/// by reading: see [`crate::verify`].
#[derive(Clone)]
pub struct Envelope {
    file: Vec<u8>,
    signed: Signed,
    signatures: Vec<Signature>,
}

#[derive(Clone)]
enum Signed {
    /// The bytes of the file in this range.
    InFile(Range<usize>),
    /// The file was laid out in another way.
    Canonical(String),
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("signatures", &self.signatures)
            .field("signed_bytes", &self.signed().len())
            .finish_non_exhaustive()
    }
}

impl Envelope {
    /// Reads a metadata file. Pass a `Vec` to avoid a copy of it. The caller bounds its size.
    ///
    /// # Errors
    /// [`ParseError`] if the bytes are not JSON, have no canonical form or are not an envelope; if a key id signs
    /// twice (specification §4.2: unique key ids), or more than [`MAX_SIGNATURES`] are listed.
    pub fn parse(file: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        let file = file.into();
        let (signed, signatures) = Self::read(checked_text(&file)?)?;
        Ok(Self { file, signed, signatures })
    }

    fn read(text: &str) -> Result<(Signed, Vec<Signature>), ParseError> {
        let mut scanner = JsonScanner::new(text, false);
        let (mut signed, mut signatures) = (None, None);
        scanner.skip_space();
        scanner.expect(b'{', "expected an object")?;
        scanner.skip_space();
        if scanner.peek() == Some(b'}') {
            return Err(ReadError::missing("signatures").into());
        }
        loop {
            scanner.skip_space();
            let mut key = Vec::new();
            scanner.emit_string(&mut key)?;
            scanner.skip_space();
            scanner.expect(b':', "expected `:`")?;
            scanner.skip_space();
            match &key[1..key.len() - 1] {
                b"signatures" if signatures.is_none() => {
                    let mut canonical = Vec::new();
                    scanner.emit_value(&mut canonical)?;
                    signatures = Some(read_signatures(checked_text(&canonical)?).map_err(|e| e.at("signatures"))?);
                }
                b"signed" if signed.is_none() => signed = Some(read_signed(&mut scanner)?),
                b"signatures" | b"signed" => {
                    let key = String::from_utf8_lossy(&key[1..key.len() - 1]).into_owned();
                    return Err(CanonicalError::DuplicateKey { key }.into());
                }
                _ => scanner.emit_value(&mut Vec::new())?,
            }
            scanner.skip_space();
            if scanner.peek() != Some(b',') {
                break;
            }
            scanner.pos += 1;
        }
        scanner.expect(b'}', "expected `,` or `}`")?;
        scanner.skip_space();
        if !scanner.at_end() {
            return Err(scanner.syntax("characters after the end of the document").into());
        }
        let signed = signed.ok_or(ReadError::missing("signed"))?;
        Ok((signed, signatures.ok_or(ReadError::missing("signatures"))?))
    }

    /// Gives the canonical signed bytes up, without a copy of them.
    #[must_use]
    pub fn into_signed(self) -> Vec<u8> {
        match self.signed {
            Signed::InFile(range) => {
                let mut file = self.file;
                file.truncate(range.end);
                file.drain(..range.start);
                file
            }
            Signed::Canonical(text) => text.into_bytes(),
        }
    }

    /// The signatures in file order, with unique key ids.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The canonical bytes that are signed. They are JSON only without PEM keys in them: see [`crate::canonical`].
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        match &self.signed {
            Signed::InFile(range) => &self.file[range.clone()],
            Signed::Canonical(text) => text.as_bytes(),
        }
    }

    /// The same as text.
    pub(crate) fn signed_text(&self) -> &str {
        match &self.signed {
            // Both ends lie on the ASCII characters that delimit a value, so this is text.
            Signed::InFile(range) => std::str::from_utf8(&self.file[range.clone()]).unwrap_or_default(),
            Signed::Canonical(text) => text,
        }
    }

    /// The file as it was read.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The file as it was read, without a copy.
    #[must_use]
    pub fn into_file(self) -> Vec<u8> {
        self.file
    }

    /// The file for canonical signed bytes and their signatures: equal input gives equal bytes.
    #[must_use]
    pub fn to_bytes(signed: &[u8], signatures: &[Signature]) -> Vec<u8> {
        let body = to_json(signed);
        let prefix = Self::prefix(signatures);
        let mut file = Vec::with_capacity(roomy(prefix.len() + body.len() + SUFFIX.len()));
        file.extend_from_slice(&prefix);
        file.extend_from_slice(&body);
        file.extend_from_slice(SUFFIX);
        file
    }

    /// What precedes the signed JSON in such a file, for writing in pieces: this, then [`to_json`] of the canonical
    /// bytes, then [`SUFFIX`].
    #[must_use]
    pub fn prefix(signatures: &[Signature]) -> Vec<u8> {
        let mut out = b"{\"signatures\":[".to_vec();
        for (index, signature) in signatures.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            signature.write(&mut out);
        }
        out.extend_from_slice(b"],\"signed\":");
        out
    }
}

/// A large capacity rounded up: the next version, a little longer, then fits where the one before was freed, and a process
/// that edits and signs for ever does not grow.
pub(crate) fn roomy(capacity: usize) -> usize {
    const LARGE: usize = 1 << 20;
    if capacity < LARGE { capacity } else { capacity.saturating_add(LARGE / 4).next_multiple_of(LARGE) }
}

fn read_signed(scanner: &mut JsonScanner<'_>) -> Result<Signed, CanonicalError> {
    let start = scanner.pos;
    if scanner.canonical_value().is_ok() {
        return Ok(Signed::InFile(start..scanner.pos));
    }
    scanner.rewind(start);
    let mut canonical = Vec::new();
    scanner.emit_value(&mut canonical)?;
    debug_assert!(is_canonical(&canonical));
    let text = String::from_utf8(canonical);
    Ok(Signed::Canonical(text.map_err(|e| CanonicalError::Utf8 { at: e.utf8_error().valid_up_to() })?))
}

fn read_signatures(canonical: &str) -> Result<Vec<Signature>, ReadError> {
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

/// Signs canonical bytes with each signer, in the given order.
///
/// # Errors
/// [`SignError`] of the first signer that fails.
pub fn sign(signed: &[u8], signers: &[(KeyId, &dyn Signer)]) -> Result<Vec<Signature>, SignError> {
    signers.iter().map(|(keyid, signer)| Ok(Signature { keyid: keyid.clone(), sig: signer.sign(signed)? })).collect()
}
