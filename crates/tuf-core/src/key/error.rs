//! Keys that cannot be read.

use crate::canonical::{CanonicalError, ReadError};

/// A key that cannot be read. The error never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not one PEM block.
    #[error("not a PEM file: {0}")]
    Pem(&'static str),
    /// The structure inside is not a key.
    #[error("malformed key: {0}")]
    Malformed(&'static str),
    /// A kind of key that this project does not use, with the remedy.
    #[error("unsupported key: {0}")]
    Unsupported(String),
    /// The key as metadata holds it is not JSON with a canonical form.
    #[error("malformed key: {0}")]
    Json(#[from] CanonicalError),
    /// The key as metadata holds it lacks a member, or has one of another type.
    #[error("malformed key: {0}")]
    Shape(#[from] ReadError),
    /// The system gives no randomness to make a key from.
    #[error("no randomness to make a key from")]
    NoRandomness,
}
