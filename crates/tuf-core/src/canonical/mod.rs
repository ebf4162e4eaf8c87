//! OLPC canonical JSON: the bytes that are signed (specification §4.2, "canonical JSON").
//!
//! Object keys sorted by code point, no white space, integers only, and in strings no escapes but `\"` and `\\`.
//!
//! Two forms of one document differ in a single way: canonical bytes hold control characters (the line feeds of a PEM
//! public key) unescaped, which JSON forbids, so a file holds them escaped. [`to_json`] makes the second from the
//! first, [`canonicalize`] the first from any JSON. Where there are no control characters, which is everything but
//! PEM keys, the two are the same bytes.

mod json;
pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod write;

pub use json::{Extra, ExtraIter, Json};
pub use read::ReadError;
pub use scan::{canonicalize, is_canonical};
pub use write::{to_json, value_to_canonical, write_str};

/// Deepest nesting of objects and arrays accepted.
pub const MAX_DEPTH: usize = 64;
/// Largest document accepted, in bytes.
pub const MAX_BYTES: usize = 1 << 31;
/// Integers must be smaller than this in magnitude: 2^53, beyond which JSON readers disagree.
pub const INTEGER_LIMIT: u64 = 1 << 53;

/// Why bytes or a value have no canonical form. Offsets are bytes into the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The bytes are not JSON.
    #[error("invalid JSON at byte {at}: {problem}")]
    Syntax {
        /// Where.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    Utf8 {
        /// Where.
        at: usize,
    },
    /// A number with a fraction or an exponent.
    #[error("a number that is not an integer has no canonical form{}", at.map(|at| format!(" (byte {at})")).unwrap_or_default())]
    Float {
        /// Where, for parsed bytes.
        at: Option<usize>,
    },
    /// An integer of 2^53 or more in magnitude.
    #[error("an integer of 2^53 or more in magnitude{}", at.map(|at| format!(" (byte {at})")).unwrap_or_default())]
    Integer {
        /// Where, for parsed bytes.
        at: Option<usize>,
    },
    /// A key that occurs twice in one object.
    #[error("duplicate object key `{key}`")]
    DuplicateKey {
        /// The key, shortened to 80 characters.
        key: String,
    },
    /// Nesting deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_BYTES`].
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
}
