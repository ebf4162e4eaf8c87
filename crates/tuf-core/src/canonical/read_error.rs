//! A document of another shape than expected.

use std::fmt;

/// What a document lacks, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    path: Vec<String>,
    problem: String,
}

impl ReadError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { path: Vec::new(), problem: problem.into() }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }

    /// The error seen from one level further out.
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

impl std::error::Error for ReadError {}
