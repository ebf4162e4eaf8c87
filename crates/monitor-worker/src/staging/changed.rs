//! A drop that its producer still changes.

use std::fmt;

/// A drop as a whole, or a file or directory in it, as messages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropEntry {
    /// The drop's own directory.
    Whole,
    /// A path below it.
    Below(String),
}

impl fmt::Display for DropEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the drop"),
            Self::Below(path) => write!(f, "{path:?}"),
        }
    }
}

/// A change of a drop while it was read. It is read again in the next cycle, but only a few times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangedWhileRead {
    /// A file grew.
    #[error("{path:?} was still being written; finish a drop before you rename it to tuf_ready_*")]
    Grew {
        /// The file.
        path: String,
    },
    /// A file became shorter.
    #[error("{path:?} was shortened while it was read; finish a drop before you rename it to tuf_ready_*")]
    Shrank {
        /// The file.
        path: String,
    },
    /// A file or directory was removed.
    #[error("{entry} vanished while the drop was read; finish a drop before you rename it to tuf_ready_*")]
    Vanished {
        /// The file or directory.
        entry: DropEntry,
    },
    /// Its files could not be listed before they were read.
    #[error("its files could not be listed before they were read; finish a drop before you rename it to tuf_ready_*")]
    NotListed,
}
