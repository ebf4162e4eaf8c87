//! Bytes and values without a canonical form, and the bounds of the form.

/// Deepest nesting of objects and arrays accepted.
pub const MAX_NESTING: usize = 64;
/// Deepest nesting at which the canonical form of a foreign document is still computed.
pub(crate) const MAX_FOREIGN_NESTING: usize = 400;
/// Largest document accepted, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 31;
/// Integers must be smaller than this in magnitude: 2^53, beyond which JSON readers disagree.
pub const INTEGER_LIMIT: u64 = 1 << 53;

/// Bytes or values without a canonical form. Offsets are bytes into the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The bytes are not JSON.
    #[error("invalid JSON at byte {at}: {problem}")]
    Syntax {
        /// The offset in bytes.
        at: usize,
        /// The fault.
        problem: &'static str,
    },
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    Utf8 {
        /// The offset in bytes.
        at: usize,
    },
    /// A number with a fraction or an exponent.
    #[error("a number that is not an integer has no canonical form{}", at.map(|at| format!(" (byte {at})")).unwrap_or_default())]
    Float {
        /// The offset in bytes, for parsed bytes.
        at: Option<usize>,
    },
    /// An integer of 2^53 or more in magnitude.
    #[error("an integer of 2^53 or more in magnitude{}", at.map(|at| format!(" (byte {at})")).unwrap_or_default())]
    Integer {
        /// The offset in bytes, for parsed bytes.
        at: Option<usize>,
    },
    /// A key that occurs twice in one object.
    #[error("duplicate object key `{key}`")]
    DuplicateKey {
        /// The key, shortened to 80 characters.
        key: String,
    },
    /// Nesting deeper than [`MAX_NESTING`].
    #[error("nested deeper than {MAX_NESTING} levels")]
    TooDeep,
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
}
