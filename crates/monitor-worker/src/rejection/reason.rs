//! Why a drop is rejected, as its producer reads it.

use std::io;

use tuf_core::names::NameError;

use crate::drop_dir::DropNameError;
use crate::manifest::ManifestError;
use crate::staging::{ChangedWhileRead, DropEntry};

/// Why a drop is rejected. The display is the text in the receipt and in `REASON.json`; control characters in paths are
/// escaped.
#[derive(Debug, thiserror::Error)]
pub enum RejectReason {
    /// The name of the drop cannot be used.
    #[error(transparent)]
    DropName(#[from] DropNameError),
    /// It has no target.
    #[error("the drop holds no files")]
    NoFiles,
    /// It has too many files or directories.
    #[error("the drop holds more than {max} files or directories")]
    TooManyFiles {
        /// The most that are allowed.
        max: u64,
    },
    /// Its paths are too long all together.
    #[error("the paths in the drop have more than {max} bytes all together (drop_max_path_bytes)")]
    TooManyPathBytes {
        /// The most that are allowed.
        max: u64,
    },
    /// A name is not UTF-8.
    #[error("the name of {path:?} is not UTF-8")]
    NotUtf8 {
        /// The path, with replacement characters.
        path: String,
    },
    /// A path cannot be a target path.
    #[error("{path:?} {}", source.reason())]
    NotATargetPath {
        /// The path.
        path: String,
        /// The rule that it breaks.
        source: NameError,
    },
    /// A path is too long for the directories in which it is kept.
    #[error("the path {start:?}… has {bytes} bytes; {max} are allowed")]
    PathTooLong {
        /// How the path begins.
        start: String,
        /// Its length.
        bytes: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// A directory lies too deep.
    #[error("{path:?} is more than {max} directories deep")]
    TooDeep {
        /// The directory.
        path: String,
        /// The deepest that is allowed.
        max: usize,
    },
    /// It holds a symbolic link.
    #[error("{path:?} is a symbolic link; a drop may hold only files and directories")]
    SymbolicLink {
        /// The link.
        path: String,
    },
    /// It holds a FIFO, a device or a socket.
    #[error("{path:?} is neither a file nor a directory")]
    SpecialFile {
        /// The special file.
        path: String,
    },
    /// A file has a hard link outside the drop, so it may be a file that was never meant to be released.
    #[error("{path:?} has {links} hard links, of which {in_drop} are in the drop; post a copy of the file")]
    LinkedElsewhere {
        /// One of its paths in the drop.
        path: String,
        /// How many links the file has.
        links: u64,
        /// How many of them are in the drop.
        in_drop: u64,
    },
    /// The permissions do not let everyone read it.
    #[error("{entry} cannot be read: its mode is {mode:04o}")]
    Unreadable {
        /// The file or directory.
        entry: DropEntry,
        /// Its permission bits.
        mode: u32,
    },
    /// A file was replaced by something else after it was listed.
    #[error("{entry} is not a regular file within the drop")]
    NotARegularFile {
        /// The path.
        entry: DropEntry,
        /// The error from the file system.
        source: io::Error,
    },
    /// A directory above a file was replaced by a link after it was listed.
    #[error("{entry} is reached through a symbolic link")]
    ThroughSymbolicLink {
        /// The path.
        entry: DropEntry,
        /// The error from the file system.
        source: io::Error,
    },
    /// The drop was published, and a file of it was written after the drop was read. Nothing is deleted.
    #[error(
        "the drop was published, but {path:?} was written after the drop was read and may not be in it; rename this directory to \
         tuf_ready_* to publish all of it"
    )]
    WrittenLate {
        /// The file.
        path: String,
    },
    /// It changed each time it was read.
    #[error(transparent)]
    Changed(#[from] ChangedWhileRead),
    /// The manifest is malformed, or does not agree with the files.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The targets-worker refused it, or failed on it alone; the text is from there.
    #[error("{0}")]
    TargetsWorker(String),
}
