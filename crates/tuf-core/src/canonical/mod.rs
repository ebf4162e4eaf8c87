//! OLPC canonical JSON: the bytes that are signed (specification §4.2, "canonical JSON").
//!
//! Object keys are sorted by code point; there is no white space, numbers are integers, and the only escapes in strings
//! are `\"` and `\\`.
//!
//! A document has two forms that differ in one way: canonical bytes hold control characters (the line feeds of a PEM
//! public key) unescaped, which JSON forbids, so a file holds them escaped. [`to_json`] makes the second from the
//! first, [`canonicalize`] the first from any JSON. Where there are no control characters, which is everything but
//! PEM keys, the two are the same bytes.

mod canonicalize;
mod encode;
mod error;
mod extra;
mod file_form;
mod json;
mod object_writer;
mod order;
mod read_error;
mod reader;
mod scanner;
mod value;
mod wire;

pub use canonicalize::{canonicalize, is_canonical};
pub use encode::write_str;
pub use error::{CanonicalError, INTEGER_LIMIT, MAX_DOCUMENT_BYTES, MAX_NESTING};
pub use extra::{Extra, ExtraIter};
pub use file_form::to_json;
pub use json::Json;
pub use read_error::ReadError;
pub use value::value_to_canonical;

pub(crate) use canonicalize::{canonicalize_foreign, checked_text};
pub(crate) use encode::{write_bool, write_hex, write_u64};
pub(crate) use error::MAX_FOREIGN_NESTING;
pub(crate) use object_writer::ObjectWriter;
pub(crate) use reader::Reader;
pub(crate) use scanner::JsonScanner;
pub(crate) use wire::Wire;
