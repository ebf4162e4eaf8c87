//! A drop that may join the next batch.

use crate::drop_dir::DropDir;

/// A drop with the numbers of its paths.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) drop: DropDir,
    /// Empty for a drop that cannot be listed: no other drop waits for it.
    pub(super) paths: Vec<u64>,
}
