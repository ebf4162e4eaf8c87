//! What can go wrong in a store.

use std::io;

use super::name::InvalidFileName;

/// A failure of a store, with what was being done and to which name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something that must exist does not: the source of a copy, or the store itself (a missing mount).
    #[error("cannot {doing} {name}: it is not there")]
    NotFound {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
    },
    /// The disk or a quota is full. Nothing is lost; the call may be repeated once there is space.
    #[error("cannot {doing} {name}: {source}: make room there")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The store may not be read or written by this process, or is mounted read-only.
    #[error("cannot {doing} {name}: {source}")]
    Permission {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file or stream is longer than the caller allows.
    #[error("{name} is longer than {max} bytes: {doing}")]
    TooLarge {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// The limit in bytes.
        max: u64,
    },
    /// A file does not hold the bytes the caller expects; nothing was changed.
    #[error("{name} does not hold the expected bytes: {doing}")]
    Mismatch {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
    },
    /// The stream given to [`Store::stage`](super::Store::stage) failed; the store did not.
    #[error("cannot read the stream to be stored below {name:?}: {source}")]
    Source {
        /// The directory it was staged for.
        name: String,
        /// What reading it said.
        #[source]
        source: io::Error,
    },
    /// A name that no store accepts.
    #[error(transparent)]
    Name(#[from] InvalidFileName),
    /// Any other failure.
    #[error("cannot {doing} {name}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The name or path.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
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
