//! Keys that cannot be read.

/// Why a key could not be read. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not one PEM block.
    #[error("not a PEM file: {0}")]
    Pem(&'static str),
    /// The structure inside is not a key.
    #[error("malformed key: {0}")]
    Malformed(&'static str),
    /// A key of a kind this project does not use, with what to do about it.
    #[error("unsupported key: {0}")]
    Unsupported(String),
    /// The key as metadata holds it cannot be read.
    #[error("malformed key: {0}")]
    Metadata(String),
}
