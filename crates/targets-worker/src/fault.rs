//! Why files cannot become targets, as their producer reads it.

use std::io;
use std::path::PathBuf;

use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::names::{NameError, TargetPath, UnportablePath};
use tuf_core::store::{FileName, InvalidFileName};
use tuf_repository::roles::SortedApart;

use crate::limits::MAX_PREFIXED_BYTES;

/// Why files cannot become targets; their producer has to change them. The display is the reason in a verdict.
#[derive(Debug, thiserror::Error)]
pub enum TargetFault {
    /// The drop has no target.
    #[error("the drop holds no files")]
    NoFiles,
    /// A directory lies too deep.
    #[error("{path:?} is more than {MAX_DROP_DEPTH} directories deep")]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// A name is not UTF-8.
    #[error("the name of {path:?} is not UTF-8")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A path cannot be a target path.
    #[error(transparent)]
    NotATargetPath(#[from] NameError),
    /// It holds a link or a special file.
    #[error("{path:?} is not a regular file")]
    NotARegularFile {
        /// The path.
        path: PathBuf,
    },
    /// A file was replaced by a link, or its path leads elsewhere.
    #[error("{path:?}: {source}")]
    CannotBeOpened {
        /// The path.
        path: PathBuf,
        /// The error from the file system.
        source: io::Error,
    },
    /// A name leaves no room for the hash that precedes it in the repository.
    #[error(
        "the name of {path:?} is too long: its first and its last component may have at most {MAX_PREFIXED_BYTES} bytes each, \
         so that a hash fits in front of them"
    )]
    NameTooLong {
        /// The target path.
        path: TargetPath,
    },
    /// A path cannot be a file name in the repository.
    #[error("{path:?} cannot be stored: {}", source.reason)]
    NotAFileName {
        /// The target path.
        path: TargetPath,
        /// The rule that it breaks.
        source: InvalidFileName,
    },
    /// An earlier release has a file where this one needs a directory.
    #[error("{:?} cannot be stored: {:?} is a file in the targets directory", name.as_str(), above.as_str())]
    NameBelowFile {
        /// The name in the targets directory.
        name: FileName,
        /// The file.
        above: FileName,
    },
    /// An earlier release has a directory where this one needs a file.
    #[error("{:?} cannot be stored: it is a directory in the targets directory", name.as_str())]
    NameIsDirectory {
        /// The name in the targets directory.
        name: FileName,
    },
    /// Without consistent snapshots: an earlier release has a file where this one needs a directory.
    #[error("{path:?} cannot be released: {:?} is a file in the targets directory", above.as_str())]
    PathBelowFile {
        /// The target path.
        path: TargetPath,
        /// The file.
        above: FileName,
    },
    /// Without consistent snapshots: an earlier release has a directory where this one needs a file.
    #[error("{path:?} cannot be released: it is a directory in the targets directory")]
    PathIsDirectory {
        /// The target path.
        path: TargetPath,
    },
    /// A path would be a file for one drop and a directory for another of the same batch.
    #[error(
        "{path:?} cannot be released together with {other:?}, which is in the same batch: one of them would be a file and also \
         a directory that holds the other"
    )]
    ClashInBatch {
        /// The target path.
        path: TargetPath,
        /// The path of an earlier drop.
        other: TargetPath,
    },
    /// `policy.allowed_targets` does not match the path.
    #[error("{path:?} is not among policy.allowed_targets{}", and_more(*more))]
    NotAllowed {
        /// The target path.
        path: TargetPath,
        /// The number of further such paths in the drop.
        more: usize,
    },
    /// Some clients cannot fetch or verify a target of this path, and `target_names` is `portable`.
    #[error(
        "{path:?} cannot be released: {source}{}; rename it, or an operator allows it with `target_names: any`", and_more(*more)
    )]
    Unportable {
        /// The target path.
        path: TargetPath,
        /// The obstacle.
        source: UnportablePath,
        /// The number of further such paths in the drop.
        more: usize,
    },
    /// tough sorts the two paths differently, and `target_names` is `portable`.
    #[error(
        "{path:?} cannot be released beside {other:?}: tough sorts the two names differently and so refuses the whole role; \
         rename one, or an operator allows both with `target_names: any`"
    )]
    SortedApart {
        /// The target path.
        path: TargetPath,
        /// The path of another target.
        other: String,
    },
    /// Clients of the legacy profile cannot download an empty file.
    #[error("{path:?} is an empty file, and clients that need keyid_format: legacy cannot download empty files")]
    Empty {
        /// The target path.
        path: TargetPath,
    },
    /// `policy.overwrite` does not match the path, and another content is signed.
    #[error("{path:?} exists already with different content, and policy.overwrite does not allow replacing it")]
    NotReplaceable {
        /// The target path.
        path: TargetPath,
    },
}

/// The number of further paths with such a fault.
fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}

impl From<&SortedApart> for TargetFault {
    fn from(apart: &SortedApart) -> Self {
        Self::SortedApart { path: apart.path.clone(), other: apart.other.clone() }
    }
}
