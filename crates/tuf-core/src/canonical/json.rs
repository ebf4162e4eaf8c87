//! JSON values kept in canonical form: custom data and fields this project does not know.

use std::collections::{BTreeMap, btree_map};

use serde_json::Value;

use super::{CanonicalError, canonicalize, is_canonical, to_json, value_to_canonical};

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

    /// The caller read `text` from canonical bytes.
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

/// Members of an object this project does not know, kept so that what was signed can be written again unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra(BTreeMap<String, Json>);

/// The members of an [`Extra`] in sorted order.
#[derive(Debug, Clone)]
pub struct ExtraIter<'a>(btree_map::Iter<'a, String, Json>);

impl<'a> Iterator for ExtraIter<'a> {
    type Item = (&'a str, &'a Json);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value))
    }
}

impl Extra {
    /// No unknown members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member called `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key)
    }

    /// Adds or replaces a member. A member the type itself knows is written from the type, not from here.
    pub fn insert(&mut self, key: &str, value: Json) {
        self.0.insert(key.to_owned(), value);
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key)
    }

    /// The members in sorted order.
    pub fn iter(&self) -> ExtraIter<'_> {
        ExtraIter(self.0.iter())
    }
}

impl<'a> IntoIterator for &'a Extra {
    type Item = (&'a str, &'a Json);
    type IntoIter = ExtraIter<'a>;
    fn into_iter(self) -> ExtraIter<'a> {
        self.iter()
    }
}
