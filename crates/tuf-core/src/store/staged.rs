//! Files written into a store that have no name yet.

use std::any::Any;
use std::fmt;
use std::io;

use super::error::StoreError;
use crate::sha256::{CopyError, FileDigest, Sha256};

/// A stream copied into a temporary file of a store, hashed as it was written.
/// [`Store::create_all`](super::Store::create_all) of the same store gives it names; dropped before that, the copy is
/// removed.
pub struct StagedStream {
    digest: FileDigest,
    pub(super) held: Box<dyn Any + Send>,
}

impl StagedStream {
    pub(super) fn new(digest: FileDigest, held: Box<dyn Any + Send>) -> Self {
        Self { digest, held }
    }

    /// Length and SHA-256 of the bytes that were written.
    #[must_use]
    pub fn digest(&self) -> FileDigest {
        self.digest
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.digest.length
    }

    /// SHA-256 of the bytes that were written.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.digest.sha256
    }
}

impl fmt::Debug for StagedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedStream").field("length", &self.digest.length).finish_non_exhaustive()
    }
}

/// A file of a store that lacks only its first bytes, see [`Store::stage_tail`](super::Store::stage_tail). Dropped
/// before it has a name, it is removed.
pub struct StagedTail {
    pub(super) head: usize,
    pub(super) held: Box<dyn Any + Send>,
}

impl fmt::Debug for StagedTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedTail").field("head", &self.head).finish_non_exhaustive()
    }
}

/// The error of a copy between a store and a stream that is the store's own.
pub(super) fn copy_failed_in_store(error: CopyError<io::Error>, doing: &'static str, name: &str) -> StoreError {
    match error {
        CopyError::TooLong { max } => StoreError::TooLarge { doing, name: name.to_owned(), max },
        CopyError::Read(source) | CopyError::Write(source) => StoreError::from_io(doing, name, source),
    }
}

/// The error of a copy into a store from a stream that comes from elsewhere.
pub(super) fn copy_failed_from_source(error: CopyError<io::Error>, doing: &'static str, name: &str) -> StoreError {
    match error {
        CopyError::Read(source) => StoreError::Source { name: name.to_owned(), source },
        other => copy_failed_in_store(other, doing, name),
    }
}
