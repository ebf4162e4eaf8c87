//! A directory of a repository, on this machine or on an HTTP server.

use std::io::{self, Read};

use durable_fs::FileKind;
use tuf_core::audit::MetadataSource;
use tuf_core::client::{Fetch, FetchError, HttpDirectory};
use tuf_core::names::MetadataFileName;

use super::local_directory::LocalDirectory;

/// A directory of a repository that a client or the audit reads.
#[derive(Clone, Debug)]
pub enum RepositoryDirectory {
    /// On this machine.
    Local(LocalDirectory),
    /// On an HTTP server.
    Web(HttpDirectory),
}

impl RepositoryDirectory {
    /// Opens the file at `path`; `None` when it does not exist. The caller reads at most `max` + 1 bytes of it.
    ///
    /// # Errors
    /// When the file cannot be opened, or it is unknown whether it exists.
    pub fn open(&self, path: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        match self {
            Self::Local(directory) => Ok(directory.open(path)?.map(|file| Box::new(file) as Box<dyn Read + Send>)),
            Self::Web(web) => web.open(path, max),
        }
    }

    /// Whether the directory is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

impl Fetch for RepositoryDirectory {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let file = self.open(path, max).map_err(FetchError::new)?;
        Ok(file.map(|file| file as Box<dyn Read>))
    }

    fn fetch_metadata(&self, name: &MetadataFileName, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match self {
            Self::Local(_) => self.fetch(&name.to_string(), max),
            Self::Web(web) => web.fetch_metadata(name, max),
        }
    }
}

impl MetadataSource for RepositoryDirectory {
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        let Self::Local(directory) = self else { return Ok(None) };
        let entries = directory.list().map_err(FetchError::new)?;
        let name = |entry: durable_fs::DirEntry| {
            (entry.kind == FileKind::File).then(|| entry.name.into_string().ok()).flatten()
        };
        Ok(Some(entries.into_iter().filter_map(name).collect()))
    }
}
