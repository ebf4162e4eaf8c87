//! Bytes that are not signed metadata.

use crate::canonical::{CanonicalError, ReadError};

/// Bytes that are not signed metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not JSON, or without canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// JSON of another shape; the error names the member.
    #[error("{0}")]
    Shape(#[from] ReadError),
    /// Bytes that should be canonical are not.
    #[error("the bytes are not canonical JSON")]
    NotCanonical,
}
