//! A file of a drop, and the digest over all of them.

use ring::digest::{Context, SHA256};

/// A file copied into the staging directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Target path: the path below the drop.
    pub path: String,
    /// SHA-256 of the bytes written.
    pub sha256: [u8; 32],
    /// How many bytes were written.
    pub len: u64,
}

/// The digest that, with its name, is a drop's identity. `files` are sorted by path.
pub fn drop_digest(files: &[StagedFile]) -> String {
    let mut context = Context::new(&SHA256);
    for file in files {
        context.update(format!("{} {} {}\n", hex::encode(file.sha256), file.len, file.path).as_bytes());
    }
    hex::encode(context.finish())
}
