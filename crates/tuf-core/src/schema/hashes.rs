//! Hashes of files (specification §4.4 and §4.5 HASHES).

use std::collections::BTreeMap;

use ring::digest;

use crate::canonical::{ReadError, Reader, Wire, write_hex, write_str};
use crate::sha256::{Sha256, Sha256Hasher};

/// Hashes of one file by algorithm, at least one. sha256 and sha512 can be checked; others are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    sha256: Option<Sha256>,
    sha512: Option<Box<[u8; 64]>>,
    others: BTreeMap<String, String>,
}

/// Bytes that differ from the listed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The bytes have another hash.
    #[error("{algorithm} is {found}, expected {expected}")]
    Mismatch {
        /// The algorithm.
        algorithm: &'static str,
        /// Hash listed, hexadecimal.
        expected: String,
        /// Hash of the bytes, hexadecimal.
        found: String,
    },
    /// No listed algorithm can be checked.
    #[error("no listed hash is sha256 or sha512")]
    NoneKnown,
}

impl Hashes {
    /// sha256 alone.
    #[must_use]
    pub fn from_sha256(sha256: Sha256) -> Self {
        Self { sha256: Some(sha256), sha512: None, others: BTreeMap::new() }
    }

    /// These and sha512.
    #[must_use]
    pub fn with_sha512(mut self, sha512: [u8; 64]) -> Self {
        self.sha512 = Some(Box::new(sha512));
        self
    }

    /// The sha256 of `data`.
    #[must_use]
    pub fn sha256_of(data: &[u8]) -> Self {
        Self::from_sha256(Sha256::of(data))
    }

    /// The sha256, if listed.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        self.sha256
    }

    /// The sha512, if listed.
    #[must_use]
    pub fn sha512(&self) -> Option<&[u8; 64]> {
        self.sha512.as_deref()
    }

    /// Every listed hash as algorithm and text (hexadecimal), sorted by algorithm.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let known = [
            self.sha256.map(|digest| ("sha256", digest.to_string())),
            self.sha512.as_ref().map(|digest| ("sha512", hex::encode(&digest[..]))),
        ];
        let mut all: Vec<(&str, String)> = known.into_iter().flatten().collect();
        all.extend(self.others.iter().map(|(name, text)| (name.as_str(), text.clone())));
        all.sort_unstable();
        all.into_iter()
    }

    /// The hash in the name of a target's file, hexadecimal: sha256 if listed, because every publisher writes that name.
    ///
    /// # Errors
    /// [`HashError::NoneKnown`] if neither sha256 nor sha512 is listed: the texts of others may be anything.
    pub fn file_name_hash(&self) -> Result<String, HashError> {
        let sha512 = || self.sha512.as_ref().map(|digest| hex::encode(&digest[..]));
        self.sha256.map(|digest| digest.to_string()).or_else(sha512).ok_or(HashError::NoneKnown)
    }

    /// Checks `data` against every listed hash that can be checked.
    ///
    /// # Errors
    /// [`HashError`] at the first that differs, or if none can be checked.
    pub fn check(&self, data: &[u8]) -> Result<(), HashError> {
        let mut checker = self.checker();
        checker.update(data);
        checker.finish()
    }

    /// The same for bytes that come in pieces.
    #[must_use]
    pub fn checker(&self) -> HashChecker<'_> {
        HashChecker {
            expected: self,
            sha256: self.sha256.map(|_| Sha256Hasher::new()),
            sha512: self.sha512.as_ref().map(|_| digest::Context::new(&digest::SHA512)),
        }
    }
}

/// Hashes bytes as they come and compares at the end. See [`Hashes::checker`].
pub struct HashChecker<'a> {
    expected: &'a Hashes,
    sha256: Option<Sha256Hasher>,
    sha512: Option<digest::Context>,
}

impl std::fmt::Debug for HashChecker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashChecker").field("expected", self.expected).finish_non_exhaustive()
    }
}

impl HashChecker<'_> {
    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(data);
        }
        if let Some(context) = &mut self.sha512 {
            context.update(data);
        }
    }

    /// Compares.
    ///
    /// # Errors
    /// [`HashError`] at the first hash that differs, or if none could be checked.
    pub fn finish(self) -> Result<(), HashError> {
        if self.sha256.is_none() && self.sha512.is_none() {
            return Err(HashError::NoneKnown);
        }
        if let (Some(hasher), Some(expected)) = (self.sha256, self.expected.sha256) {
            let found = hasher.finish();
            if found != expected {
                let (expected, found) = (expected.to_string(), found.to_string());
                return Err(HashError::Mismatch { algorithm: "sha256", expected, found });
            }
        }
        if let (Some(context), Some(expected)) = (self.sha512, &self.expected.sha512) {
            let found = context.finish();
            if found.as_ref() != &expected[..] {
                let (expected, found) = (hex::encode(&expected[..]), hex::encode(found));
                return Err(HashError::Mismatch { algorithm: "sha512", expected, found });
            }
        }
        Ok(())
    }
}

/// Fills `digest` from lower-case hexadecimal of exactly its length.
fn decode(text: &str, digest: &mut [u8]) -> Result<(), ReadError> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !lower || hex::decode_to_slice(text, digest).is_err() {
        return Err(ReadError::new(format!("expected {} lower-case hexadecimal digits", digest.len() * 2)));
    }
    Ok(())
}

impl Wire for Hashes {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut hashes = Self { sha256: None, sha512: None, others: BTreeMap::new() };
        reader.object(|name, reader| {
            let text = reader.string()?;
            match name {
                "sha256" => {
                    let mut digest = [0; 32];
                    decode(&text, &mut digest)?;
                    hashes.sha256 = Some(digest.into());
                }
                "sha512" => {
                    let mut digest = [0; 64];
                    decode(&text, &mut digest)?;
                    hashes.sha512 = Some(Box::new(digest));
                }
                _ => {
                    hashes.others.insert(name.to_owned(), text.into_owned());
                }
            }
            Ok(())
        })?;
        if hashes.sha256.is_none() && hashes.sha512.is_none() && hashes.others.is_empty() {
            return Err(ReadError::new("lists no hash"));
        }
        Ok(hashes)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if !self.others.is_empty() {
            for (index, (name, text)) in self.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_str(out, name);
                out.push(b':');
                write_str(out, &text);
            }
        } else {
            if let Some(sha256) = &self.sha256 {
                out.extend_from_slice(b"\"sha256\":\"");
                write_hex(out, sha256.as_bytes());
                out.push(b'"');
            }
            if let Some(sha512) = &self.sha512 {
                out.extend_from_slice(if self.sha256.is_some() { b",\"sha512\":\"" } else { b"\"sha512\":\"" });
                write_hex(out, &sha512[..]);
                out.push(b'"');
            }
        }
        out.push(b'}');
    }
}
