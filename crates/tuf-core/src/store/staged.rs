//! A stream copied into a store, not yet named.

use std::any::Any;
use std::fmt;
use std::io::{self, ErrorKind, Read};

use super::{Digest, StoreError};

const BUFFER: usize = 256 * 1024;

/// A stream copied into a temporary file of a store, hashed as it was written. Give it names with
/// [`Store::create_all`](super::Store::create_all) of the store that staged it; dropped before that, the copy is removed.
pub struct Staged {
    digest: Digest,
    pub(super) held: Box<dyn Any + Send>,
}

impl Staged {
    pub(super) fn new(digest: Digest, held: Box<dyn Any + Send>) -> Self {
        Self { digest, held }
    }

    /// Length and SHA-256 of the bytes that were written.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.digest.length
    }

    /// SHA-256 of the bytes that were written.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.digest.sha256
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("length", &self.digest.length).finish_non_exhaustive()
    }
}

/// A file of a store that is written but for its first bytes, see [`Store::stage_behind`](super::Store::stage_behind);
/// dropped before it has a name, it is removed.
pub struct Behind {
    pub(super) head: usize,
    pub(super) held: Box<dyn Any + Send>,
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Why a stream was not copied to its end.
pub(super) enum HashError {
    TooLarge,
    Read(io::Error),
    Write(io::Error),
}

impl HashError {
    /// For streams that come from the store itself.
    pub(super) fn in_store(self, doing: &'static str, name: &str, max: u64) -> StoreError {
        match self {
            Self::TooLarge => StoreError::TooLarge { doing, name: name.to_owned(), max },
            Self::Read(source) | Self::Write(source) => StoreError::from_io(doing, name, source),
        }
    }

    /// For streams that come from elsewhere.
    pub(super) fn in_source(self, doing: &'static str, name: &str, max: u64) -> StoreError {
        match self {
            Self::Read(source) => StoreError::Source { name: name.to_owned(), source },
            other => other.in_store(doing, name, max),
        }
    }
}

/// Reads `reader` to its end, passing each piece to `sink`; hashes the pieces passed. Stops beyond `max` bytes.
pub(super) fn hash(
    reader: &mut dyn Read,
    max: u64,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Digest, HashError> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; BUFFER];
    let mut length = 0_u64;
    loop {
        let piece = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => buffer.get(..count).unwrap_or(&buffer),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(HashError::Read(error)),
        };
        length = length.saturating_add(piece.len() as u64);
        if length > max {
            return Err(HashError::TooLarge);
        }
        context.update(piece);
        sink(piece).map_err(HashError::Write)?;
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    Ok(Digest { length, sha256 })
}
