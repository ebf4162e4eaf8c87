//! A directory of a repository, wherever it is.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use durable_fs::{FileKind, Fs};
use tuf_core::audit::MetadataSource;
use tuf_core::client::{Fetch, FetchError};
use url::Url;

use super::directory::Directory;
use super::web::Web;
use crate::error::CliError;

/// Where a directory is: a path, or a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    Path(PathBuf),
    /// On an HTTP server.
    Url(Url),
}

impl FromStr for Location {
    type Err = String;

    /// `http://…` and `https://…` are URLs, everything else is a path.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a user or a password is not supported: it would show in logs".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL of a directory has neither `?` nor `#`".to_owned());
        }
        Ok(Self::Url(url))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl Location {
    /// The directory there.
    ///
    /// # Errors
    /// When there is none on this machine. A server is not asked yet.
    pub fn open(&self, fs: &Arc<dyn Fs>) -> Result<Folder, CliError> {
        match self {
            Self::Url(url) => Ok(Folder::Web(Web::new(url))),
            Self::Path(dir) if super::is_dir(fs.as_ref(), dir) => {
                Ok(Folder::Local(Directory::new(Arc::clone(fs), dir.clone())))
            }
            Self::Path(dir) => Err(CliError::usage(format!("there is no directory {}", dir.display()))
                .hint("name the repository's directories with --metadata and --targets, or set repo_path")),
        }
    }
}

/// A directory that files are read from.
#[derive(Clone, Debug)]
pub enum Folder {
    /// On this machine.
    Local(Directory),
    /// On an HTTP server.
    Web(Web),
}

impl Folder {
    /// Opens the file at `path`, of which the caller reads no more than `max` + 1 bytes; `None` when there is none.
    ///
    /// # Errors
    /// When it is not known whether there is one, or it cannot be opened.
    pub fn open(&self, path: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        match self {
            Self::Local(directory) => Ok(directory.open(path)?.map(|file| Box::new(file) as Box<dyn Read + Send>)),
            Self::Web(web) => web.open(path, max),
        }
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

impl Fetch for Folder {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let file = self.open(path, max).map_err(FetchError::new)?;
        Ok(file.map(|file| file as Box<dyn Read>))
    }
}

impl MetadataSource for Folder {
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        let Self::Local(directory) = self else { return Ok(None) };
        let entries = directory.list().map_err(FetchError::new)?;
        let name = |entry: durable_fs::DirEntry| {
            (entry.kind == FileKind::File).then(|| entry.name.into_string().ok()).flatten()
        };
        Ok(Some(entries.into_iter().filter_map(name).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        assert!(matches!("https://example.org/metadata".parse(), Ok(Location::Url(_))));
        assert!(matches!("repo/metadata".parse(), Ok(Location::Path(_))));
        assert!(matches!("ftp://x".parse(), Ok(Location::Path(_))));
        for refused in ["https://user:secret@host/", "https://host/?key=1", "https://host/#x", "http://"] {
            let refused: Result<Location, String> = refused.parse();
            assert!(!refused.unwrap_err().contains("secret"));
        }
    }
}
