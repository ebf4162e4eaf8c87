//! JSON values kept in canonical form: custom data and members this project does not know.

use serde_json::Value;

use super::canonicalize::{canonicalize, is_canonical};
use super::error::CanonicalError;
use super::file_form::to_json;
use super::value::value_to_canonical;

/// Any JSON value with a canonical form, kept as its canonical text: compact, comparable, written back byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// A value built in memory.
    ///
    /// # Errors
    /// [`CanonicalError`] if it holds floats, integers of 2^53 or more, or is nested too deep.
    pub fn from_value(value: &Value) -> Result<Self, CanonicalError> {
        Self::from_canonical_bytes(value_to_canonical(value)?)
    }

    /// A value from JSON text.
    ///
    /// # Errors
    /// [`CanonicalError`] if the text is not JSON or has no canonical form.
    pub fn parse(json: &[u8]) -> Result<Self, CanonicalError> {
        Self::from_canonical_bytes(canonicalize(json)?.into_owned())
    }

    fn from_canonical_bytes(bytes: Vec<u8>) -> Result<Self, CanonicalError> {
        debug_assert!(is_canonical(&bytes));
        let text =
            String::from_utf8(bytes).map_err(|error| CanonicalError::Utf8 { at: error.utf8_error().valid_up_to() })?;
        Ok(Self(text.into()))
    }

    /// A value whose `text` the caller read from canonical bytes.
    pub(crate) fn trusted(text: &str) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    #[must_use]
    pub fn as_canonical(&self) -> &str {
        &self.0
    }

    /// The value as a tree.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // Canonical text always is JSON once its control characters are escaped.
        serde_json::from_slice(&to_json(self.0.as_bytes())).unwrap_or(Value::Null)
    }
}
