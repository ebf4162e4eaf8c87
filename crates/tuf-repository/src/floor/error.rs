//! Why a floor cannot be read or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a floor cannot be read or written. The role must not sign.
#[derive(Debug, Error)]
pub enum FloorError {
    /// The volume failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The action, such as `read the floor`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("cannot read the floor {}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// A newer version of this software wrote the file.
    #[error("the floor {} has format {found}, this version reads up to {newest}: upgrade this worker", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// The role has no floor yet, so that no state can be below it.
    #[error("there is no floor at {}, so the role cannot be below it", path.display())]
    NoFloor {
        /// The file.
        path: PathBuf,
    },
}
