//! A file of a drop.

use std::path::PathBuf;

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
    /// A file on this machine, and its size in bytes when it was collected.
    File(PathBuf, u64),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

impl DropItem {
    /// Its size in bytes when it was collected.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            ItemContent::File(_, len) => *len,
            ItemContent::Bytes(bytes) => bytes.len() as u64,
        }
    }
}
