//! Why the commit log cannot be read or written.

use thiserror::Error;
use tuf_core::canonical::CanonicalError;
use tuf_core::store::{FileName, InvalidFileName, StoreError};

use super::record::LOG_FORMAT;

/// Why the caller's signer did not sign.
pub type SignerError = Box<dyn std::error::Error + Send + Sync>;

/// Why the commit log cannot be read or written.
#[derive(Debug, Error)]
pub enum LogError {
    /// The store failed. The state of the log is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number does not make a file name.
    #[error(transparent)]
    Name(#[from] InvalidFileName),
    /// A newer version of this software wrote the file.
    #[error("{file} has format {found}, this version reads up to {LOG_FORMAT}: upgrade this worker")]
    NewerFormat {
        /// The file.
        file: FileName,
        /// Its format.
        found: u64,
    },
    /// A record or base cannot be written as JSON.
    #[error("cannot encode {file}: {source}")]
    Encode {
        /// The file.
        file: FileName,
        /// The reason.
        source: serde_json::Error,
    },
    /// A record or base has no canonical form.
    #[error("cannot encode {file}: {source}")]
    Canonical {
        /// The file.
        file: FileName,
        /// The reason.
        source: CanonicalError,
    },
    /// A record or base was not signed.
    #[error("cannot sign {file}: {source}")]
    Sign {
        /// The file.
        file: FileName,
        /// The reason.
        source: SignerError,
    },
    /// Files that do not verify hold too many names in a row.
    #[error(
        "cannot append to the commit log: the next {0} names are taken by files that are not records; remove these files"
    )]
    Squatted(u64),
    /// The log has reached the highest number.
    #[error(
        "the commit log has used its highest number: a stolen targets key or a file that someone made moved it there; \
         restore a backup of the log from before, then run `rugged recover`"
    )]
    Exhausted,
}
