//! A document of another shape than expected.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::names::NameError;

/// A member that is missing or wrong, and its place in the document. Two are equal if they say the same.
#[derive(Debug, Clone)]
pub struct ReadError {
    path: Vec<String>,
    problem: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ReadError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { path: Vec::new(), problem: problem.into(), source: None }
    }

    /// A value that its type refused.
    pub(crate) fn refused(error: impl Error + Send + Sync + 'static) -> Self {
        Self { path: Vec::new(), problem: error.to_string(), source: Some(Arc::new(error)) }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }

    /// Adds the enclosing member to the path.
    pub(crate) fn at(mut self, key: &str) -> Self {
        self.path.push(key.chars().take(80).flat_map(char::escape_debug).collect());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.path.iter().rev().enumerate() {
            write!(f, "{}{key}", if index == 0 { "" } else { "." })?;
        }
        write!(f, "{}{}", if self.path.is_empty() { "" } else { ": " }, self.problem)
    }
}

impl PartialEq for ReadError {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.problem) == (&other.path, &other.problem)
    }
}

impl Eq for ReadError {}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<NameError> for ReadError {
    fn from(error: NameError) -> Self {
        Self::refused(error)
    }
}
