//! The faults of a configuration.

use std::path::PathBuf;

use super::origin::Origin;
use super::table::SettingSpec;

/// A fault of a configuration. No message holds the value of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, or is larger than 1 MiB.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not YAML, or not the YAML of a configuration.
    #[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where known.
        line: Option<u64>,
        /// The fault.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{}", suggestion.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key or variable as written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The key or variable that was probably meant.
        suggestion: Option<String>,
    },
    /// A variable that sets no key, though it begins as those of the settings do.
    #[error("unknown environment variable `{variable}`{}", suggestion.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The variable that was probably meant.
        suggestion: Option<String>,
    },
    /// A value that is not of its key's kind.
    #[error("{origin}: `{key}` is {value}; expected {expected}")]
    Invalid {
        /// The key.
        key: String,
        /// Where the value was written.
        origin: Origin,
        /// The value, shortened; a secret is left out.
        value: String,
        /// The expected form.
        expected: String,
    },
    /// The same key twice in one place.
    #[error("{origin}: `{key}` is given twice")]
    Twice {
        /// The key.
        key: String,
        /// Where.
        origin: Origin,
    },
    /// A `--set` that is not `KEY=VALUE`.
    #[error("--set needs a key and a value")]
    NotAPair,
    /// Values that contradict each other, as the system that owns them says.
    #[error(transparent)]
    Contradiction(Box<dyn std::error::Error + Send + Sync>),
    /// The table of settings and the code that reads it disagree: a bug.
    #[error("the table of settings has no `{0}` of that kind")]
    NotInTable(&'static str),
}

impl ConfigError {
    /// Values that contradict each other.
    pub fn contradiction(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Contradiction(Box::new(reason))
    }

    pub(super) fn invalid(spec: &SettingSpec, origin: Origin, value: &str) -> Self {
        Self::Invalid { key: spec.key.into(), origin, value: value.into(), expected: spec.kind.expected() }
    }
}
