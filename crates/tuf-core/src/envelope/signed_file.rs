//! A metadata file: signatures and the bytes they sign.

use std::ops::Range;

use super::error::ParseError;
use super::signature::{Signature, read_signatures};
use crate::canonical::{CanonicalError, JsonScanner, ReadError, Wire as _, checked_text, is_canonical, to_json};

/// The bytes after the signed JSON in a file.
pub const SUFFIX: &[u8] = b"}";

/// Signed metadata as read from a file: the signatures, and the canonical bytes they are over.
///
/// It holds the file itself too; if the signed part of the file is canonical, nothing is copied. Parsing verifies no
/// signature: see [`crate::verify`].
#[derive(Clone)]
pub struct Envelope {
    file: Vec<u8>,
    signed: SignedBytes,
    signatures: Vec<Signature>,
}

#[derive(Clone)]
enum SignedBytes {
    /// The bytes of the file in this range.
    InFile(Range<usize>),
    /// The file had another layout.
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
    /// [`ParseError`] if the bytes are not JSON, have no canonical form or are not an envelope; if a key id
    /// signs twice (specification §4.2: unique key ids), or if more than [`MAX_SIGNATURES`](super::MAX_SIGNATURES) are listed.
    pub fn parse(file: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        let file = file.into();
        let (signed, signatures) = Self::read(checked_text(&file)?)?;
        Ok(Self { file, signed, signatures })
    }

    fn read(text: &str) -> Result<(SignedBytes, Vec<Signature>), ParseError> {
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

    /// Returns the canonical signed bytes without a copy.
    #[must_use]
    pub fn into_signed(self) -> Vec<u8> {
        match self.signed {
            SignedBytes::InFile(range) => {
                let mut file = self.file;
                file.truncate(range.end);
                file.drain(..range.start);
                file
            }
            SignedBytes::Canonical(text) => text.into_bytes(),
        }
    }

    /// The signatures in file order, with unique key ids.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The canonical bytes that are signed. They are valid JSON only if they hold no PEM keys: see
    /// [`crate::canonical`].
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        match &self.signed {
            SignedBytes::InFile(range) => &self.file[range.clone()],
            SignedBytes::Canonical(text) => text.as_bytes(),
        }
    }

    /// The same as text.
    pub(crate) fn signed_text(&self) -> &str {
        match &self.signed {
            // Both ends are at ASCII characters that delimit a value, so the range is text.
            SignedBytes::InFile(range) => std::str::from_utf8(&self.file[range.clone()]).unwrap_or_default(),
            SignedBytes::Canonical(text) => text,
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

    /// The bytes before the signed JSON in such a file, for writing in pieces: these, then [`to_json`] of the canonical
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

/// A large capacity rounded up. The next version is a little longer and then fits into the memory that the version
/// before freed, so a process that edits and signs for months does not grow.
pub(crate) fn roomy(capacity: usize) -> usize {
    const LARGE: usize = 1 << 20;
    if capacity < LARGE { capacity } else { capacity.saturating_add(LARGE / 4).next_multiple_of(LARGE) }
}

fn read_signed(scanner: &mut JsonScanner<'_>) -> Result<SignedBytes, CanonicalError> {
    let start = scanner.pos;
    if scanner.canonical_value().is_ok() {
        return Ok(SignedBytes::InFile(start..scanner.pos));
    }
    scanner.rewind(start);
    let mut canonical = Vec::new();
    scanner.emit_value(&mut canonical)?;
    debug_assert!(is_canonical(&canonical));
    let text = String::from_utf8(canonical);
    Ok(SignedBytes::Canonical(text.map_err(|e| CanonicalError::Utf8 { at: e.utf8_error().valid_up_to() })?))
}
