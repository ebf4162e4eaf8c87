//! The version of the specification that metadata follows.

use std::borrow::Cow;
use std::fmt;

use crate::canonical::ReadError;

/// The version of the specification written into new metadata.
pub const SPEC_VERSION: &str = "1.0.31";

/// A `spec_version` this project understands: `1.x` or `1.x.y`. The default is [`SPEC_VERSION`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecVersion(Cow<'static, str>);

impl Default for SpecVersion {
    fn default() -> Self {
        Self(Cow::Borrowed(SPEC_VERSION))
    }
}

impl SpecVersion {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ReadError> {
        if text == SPEC_VERSION {
            return Ok(Self::default());
        }
        let parts: Vec<&str> = text.split('.').collect();
        let numeric =
            parts.iter().all(|part| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit()));
        if !numeric || !(2..=3).contains(&parts.len()) {
            return Err(ReadError::new("is not a version of the form 1.x.y"));
        }
        if parts[0] != "1" {
            return Err(ReadError::new(format!("version {text} of the specification is not supported, only 1.x.y")));
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
