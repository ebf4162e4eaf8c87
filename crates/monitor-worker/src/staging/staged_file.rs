//! A file of a drop, as it was copied.

use fleet::batch::drop_digest;
use tuf_core::sha256::Sha256;

/// A file copied into the staging directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Target path: the path below the drop.
    pub path: String,
    /// SHA-256 of the bytes written.
    pub sha256: Sha256,
    /// How many bytes were written.
    pub len: u64,
}

/// The digest of a drop with these files.
#[must_use]
pub fn digest_of(files: &[StagedFile]) -> String {
    drop_digest(files.iter().map(|file| (file.path.as_str(), file.sha256, file.len)))
}
