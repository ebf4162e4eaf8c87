//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. Its text is short enough for an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 when unknown.
        line: u64,
    },
    /// An environment variable.
    Env(String),
    /// A file that an environment variable or a key with `_file` names.
    NamedFile {
        /// The variable, or the place of the key.
        named_by: String,
        /// The file.
        path: PathBuf,
    },
    /// `--set`.
    Flag,
    /// The program: workers hosted in one process, or a test.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(variable) => f.write_str(variable),
            Self::NamedFile { named_by, path } => write!(f, "{named_by} ({})", path.display()),
            Self::Flag => f.write_str("--set"),
            Self::Code => f.write_str("built in"),
        }
    }
}
