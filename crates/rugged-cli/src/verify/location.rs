//! The location of a repository's directory: a path or a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use durable_fs::Fs;
use tuf_core::client::HttpDirectory;
use url::Url;

use super::local_directory::{LocalDirectory, is_directory};
use super::repository_directory::RepositoryDirectory;
use crate::error::CliError;

const USER_AGENT: &str = concat!("rugged/", env!("CARGO_PKG_VERSION"));

/// The location of a repository's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryLocation {
    /// A directory on this machine.
    Path(PathBuf),
    /// A directory on an HTTP server.
    Url(Url),
}

/// Why a text is not a location. Never holds a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The text begins like a URL and is none.
    #[error("invalid URL: {0}")]
    InvalidUrl(#[from] url::ParseError),
    /// The URL has a user or a password.
    #[error("a URL with a user or a password is not supported, because logs would show it")]
    Credentials,
    /// The URL has a query or a fragment.
    #[error("the URL of a directory must not contain `?` or `#`")]
    QueryOrFragment,
}

impl FromStr for RepositoryLocation {
    type Err = LocationError;

    /// `http://…` and `https://…` are URLs, any other text is a path.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let url = Url::parse(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(LocationError::QueryOrFragment);
        }
        Ok(Self::Url(url))
    }
}

impl fmt::Display for RepositoryLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl RepositoryLocation {
    /// The directory `targets` beside a directory `metadata`; `None` if the directory has another name.
    #[must_use]
    pub fn targets_beside(&self) -> Option<Self> {
        match self {
            Self::Path(path) => path.ends_with("metadata").then(|| Self::Path(path.with_file_name("targets"))),
            Self::Url(url) => {
                let above = url.as_str().trim_end_matches('/').strip_suffix("/metadata")?;
                Url::parse(&format!("{above}/targets")).ok().map(Self::Url)
            }
        }
    }

    /// Opens the directory. A server is not contacted yet.
    ///
    /// # Errors
    /// When the directory does not exist on this machine.
    pub fn open(&self, fs: &Arc<dyn Fs>) -> Result<RepositoryDirectory, CliError> {
        match self {
            Self::Url(url) => match HttpDirectory::new(url.as_str(), USER_AGENT) {
                Ok(http) => Ok(RepositoryDirectory::Web(http)),
                Err(error) => Err(CliError::invalid_input(error)),
            },
            Self::Path(dir) if is_directory(fs.as_ref(), dir) => {
                Ok(RepositoryDirectory::Local(LocalDirectory::new(Arc::clone(fs), dir.clone())))
            }
            Self::Path(dir) => Err(CliError::invalid_input(format!("the directory {} does not exist", dir.display()))
                .hint("name the repository's directories with --metadata and --targets, or set repo_path")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        assert!(matches!("https://example.org/metadata".parse(), Ok(RepositoryLocation::Url(_))));
        assert!(matches!("repo/metadata".parse(), Ok(RepositoryLocation::Path(_))));
        assert!(matches!("ftp://x".parse(), Ok(RepositoryLocation::Path(_))));
        for refused in ["https://user:secret@host/", "https://host/?key=1", "https://host/#x", "http://"] {
            let refused: Result<RepositoryLocation, LocationError> = refused.parse();
            assert!(!crate::error::describe(&refused.unwrap_err()).contains("secret"));
        }
    }

    #[test]
    fn targets_are_beside_metadata() {
        let beside = |text: &str| {
            text.parse::<RepositoryLocation>().unwrap().targets_beside().map(|location| location.to_string())
        };
        assert_eq!(beside("https://host/repo/metadata/").as_deref(), Some("https://host/repo/targets"));
        assert_eq!(beside("https://host/metadata").as_deref(), Some("https://host/targets"));
        assert_eq!(beside("repo/metadata").as_deref(), Some("repo/targets"));
        assert_eq!(beside("metadata").as_deref(), Some("targets"));
        assert_eq!(beside("https://host/"), None);
        assert_eq!(beside("repo/tuf"), None);
    }
}
