//! A file of a drop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that goes into a drop.
#[derive(Clone, Debug)]
pub struct DropItem {
    /// Its path in the drop, which becomes the target path.
    pub path: String,
    /// Its bytes.
    pub content: ItemContent,
}

/// Where the bytes of a [`DropItem`] come from.
#[derive(Clone, Debug)]
pub enum ItemContent {
    /// A file on this machine that was named, and its size in bytes when it was collected.
    File(PathBuf, u64),
    /// A file below a directory on this machine that was named, at the path that it has in the drop; and its size in bytes
    /// when it was collected. It is opened without following a link below that directory.
    Below(Arc<Path>, u64),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

impl DropItem {
    /// Its size in bytes when it was collected.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            ItemContent::File(_, len) | ItemContent::Below(_, len) => *len,
            ItemContent::Bytes(bytes) => bytes.len() as u64,
        }
    }
}
