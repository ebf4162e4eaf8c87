//! Audits that could not begin.

use crate::client::FetchError;

/// Why there was nothing to audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The first file could not be read, for a reason other than not being there.
    #[error("cannot read {path}: {error}")]
    Fetch {
        /// The file.
        path: String,
        /// Why.
        error: FetchError,
    },
    /// The directory cannot be listed.
    #[error("cannot list the metadata directory: {0}")]
    List(FetchError),
    /// Neither a root nor a timestamp is there.
    #[error("this is no repository: neither 1.root.json, nor another root, nor timestamp.json is there")]
    NoRepository,
}
