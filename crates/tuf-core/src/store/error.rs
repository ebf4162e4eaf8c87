//! Failures of a store.

use std::io;

use super::name::InvalidFileName;

/// A failure of a store, with the action and the name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A required file or directory is missing: the source of a copy, or the store itself (a missing mount).
    #[error("cannot {doing} {name}: it is missing")]
    NotFound {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
    },
    /// The disk or a quota is full. Nothing is lost; repeat the call once there is space.
    #[error("cannot {doing} {name}: {source}; free some space")]
    NoSpace {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The store may not be read or written by this process, or is mounted read-only.
    #[error("cannot {doing} {name}: {source}")]
    Permission {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file or stream is longer than the caller allows.
    #[error("cannot {doing} {name}: it is longer than {max} bytes")]
    TooLarge {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// The limit in bytes.
        max: u64,
    },
    /// A file does not hold the bytes the caller expects; nothing was changed.
    #[error("cannot {doing} {name}: it does not hold the expected bytes")]
    Mismatch {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
    },
    /// The stream given to [`Store::stage`](super::Store::stage) failed; the store did not.
    #[error("cannot read the stream to be stored below {name:?}: {source}")]
    Source {
        /// The directory of the copy.
        name: String,
        /// The error of reading the stream.
        #[source]
        source: io::Error,
    },
    /// A name that no store accepts.
    #[error(transparent)]
    Name(#[from] InvalidFileName),
    /// Any other failure.
    #[error("cannot {doing} {name}: {source}")]
    Io {
        /// The action, as a verb.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the fault lies in the one file that was to be read, and not in the store: it is too long, not a regular file,
    /// or not readable for this process. Where strangers can create names, such a file is no reason to stop.
    #[must_use]
    pub fn is_of_the_file(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Permission { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::InvalidInput,
            _ => false,
        }
    }

    /// Sorts an I/O error by its kind.
    #[must_use]
    pub fn from_io(doing: &'static str, name: impl Into<String>, source: io::Error) -> Self {
        let name = name.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { doing, name },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { doing, name, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { doing, name, source }
            }
            _ => Self::Io { doing, name, source },
        }
    }
}
