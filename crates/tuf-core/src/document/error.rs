//! Bytes that are not a document.

use thiserror::Error;

/// Bytes that are not a document.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DocumentError {
    /// Not canonical JSON of the expected shape.
    #[error("malformed document at byte {offset}: {reason}")]
    Malformed {
        /// The offset in bytes.
        offset: usize,
        /// The expected item.
        reason: &'static str,
    },
    /// A member that every document has is missing.
    #[error("document has no `{0}`")]
    Missing(&'static str),
    /// The document is of another role type.
    #[error("document is of type `{found}`, not `{wanted}`")]
    WrongType {
        /// `_type` of the document.
        found: String,
        /// The expected type.
        wanted: &'static str,
    },
    /// Larger than offsets can address (4 GiB).
    #[error("document is larger than 4 GiB")]
    TooLarge,
}
