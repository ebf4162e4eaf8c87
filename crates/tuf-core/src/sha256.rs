//! SHA-256 digests: of bytes, of pieces, and of streams while they are copied.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes a [`HashingCopier`] reads at a time.
const COPY_BUFFER_BYTES: usize = 256 << 10;

/// A SHA-256 digest. Text and JSON hold 64 hexadecimal digits: lower case when written, either case when parsed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_pieces([bytes])
    }

    /// The digest of pieces one after the other.
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256Hasher::new();
        pieces.into_iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidSha256;

impl FromStr for Sha256 {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSha256)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Sha256`] of bytes that come in pieces.
#[derive(Clone)]
pub struct Sha256Hasher(Context);

impl Sha256Hasher {
    /// A hasher that has seen no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Sha256(bytes)
    }
}

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sha256Hasher").finish_non_exhaustive()
    }
}

/// Length and SHA-256 of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
}

/// A stream was not copied to its end. `E` is the error of the function that takes the pieces.
#[derive(Debug, thiserror::Error)]
pub enum CopyError<E> {
    /// The stream is longer than the bound.
    #[error("the stream is longer than {max} bytes")]
    TooLong {
        /// The bound, in bytes.
        max: u64,
    },
    /// The stream cannot be read.
    #[error("cannot read the stream")]
    Read(#[source] io::Error),
    /// A piece was not accepted.
    #[error("cannot write a piece of the stream")]
    Write(#[source] E),
}

/// Copies streams piece by piece and hashes the very bytes it passes on. One buffer of 256 KiB serves any number of
/// streams.
pub struct HashingCopier {
    buffer: Vec<u8>,
}

impl HashingCopier {
    /// A copier with a buffer of its own.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; COPY_BUFFER_BYTES] }
    }

    /// Reads `reader` to its end, hashes each piece and passes it to `write`. Interrupted reads are repeated.
    ///
    /// The result describes the bytes that `write` accepted, even if the source changes later.
    ///
    /// # Errors
    /// [`CopyError`]. The piece that exceeds `max` bytes is neither hashed nor written.
    pub fn copy<E>(
        &mut self,
        reader: &mut (impl Read + ?Sized),
        max: u64,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<FileDigest, CopyError<E>> {
        let mut hasher = Sha256Hasher::new();
        let mut length = 0_u64;
        loop {
            let piece = match reader.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => self.buffer.get(..count).unwrap_or(&self.buffer),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            length = length.saturating_add(piece.len() as u64);
            if length > max {
                return Err(CopyError::TooLong { max });
            }
            hasher.update(piece);
            write(piece).map_err(CopyError::Write)?;
        }
        Ok(FileDigest { length, sha256: hasher.finish() })
    }
}

impl Default for HashingCopier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HashingCopier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingCopier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_in_lower_case_and_parsed_in_either() {
        let digest = Sha256::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.to_uppercase().parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Sha256>(&format!("\"{EMPTY}\"")).unwrap(), digest);
        for bad in ["", &EMPTY[1..], &format!("{EMPTY}0"), &EMPTY.replace('e', "g")] {
            assert_eq!(bad.parse::<Sha256>(), Err(InvalidSha256), "{bad}");
        }
    }

    #[test]
    fn a_copy_has_the_hash_of_the_bytes_passed_on() {
        let bytes = vec![7; COPY_BUFFER_BYTES * 2 + 1];
        let mut out = Vec::new();
        let mut copier = HashingCopier::new();
        let copied = copier.copy(&mut &bytes[..], bytes.len() as u64, |piece| {
            out.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        assert_eq!(copied.unwrap(), FileDigest { length: bytes.len() as u64, sha256: Sha256::of(&bytes) });
        assert_eq!(out, bytes);
    }

    #[test]
    fn a_copy_stops_before_the_piece_that_exceeds_the_bound() {
        let bytes = vec![7; COPY_BUFFER_BYTES + 1];
        let mut written = 0;
        let copied = HashingCopier::new().copy(&mut &bytes[..], COPY_BUFFER_BYTES as u64, |piece| {
            written += piece.len();
            Ok::<(), Infallible>(())
        });
        assert!(matches!(copied, Err(CopyError::TooLong { .. })), "{copied:?}");
        assert_eq!(written, COPY_BUFFER_BYTES);
    }
}
