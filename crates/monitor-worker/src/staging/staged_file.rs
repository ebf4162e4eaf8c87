//! A file of a drop, and the digest over all of them.

use tuf_core::sha256::{Sha256, Sha256Hasher};

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

/// The digest that, with its name, is a drop's identity. `files` are sorted by path.
pub fn drop_digest(files: &[StagedFile]) -> String {
    let mut hasher = Sha256Hasher::new();
    for file in files {
        hasher.update(format!("{} {} {}\n", file.sha256, file.len, file.path).as_bytes());
    }
    hasher.finish().to_string()
}
