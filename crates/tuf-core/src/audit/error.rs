//! Audits that could not begin.

use crate::client::FetchError;

/// An audit that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The first file exists and could not be read.
    #[error("cannot read {path}: {error}")]
    Fetch {
        /// The file.
        path: String,
        /// The reason.
        #[source]
        error: FetchError,
    },
    /// The metadata directory cannot be listed.
    #[error("cannot list the metadata directory: {0}")]
    List(#[source] FetchError),
    /// There is neither a root nor a timestamp.
    #[error("no repository found: neither N.root.json nor timestamp.json exists")]
    NoRepository,
}
