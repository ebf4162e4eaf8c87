//! The source of a client's files.

use std::io::Read;

use crate::names::MetadataFileName;

/// Fetching failed for another reason than a missing file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl FetchError {
    /// Wraps any error or text.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// A source of files: a directory, an HTTP server, memory. Nothing it returns is trusted.
pub trait Fetch {
    /// Opens the file at `path`; `None` if there is none.
    ///
    /// `path` is relative and `/`-separated, made of validated names, without empty, `.` or `..` components. It may hold
    /// spaces and non-ASCII characters, which a URL needs percent-encoded. At most `max` + 1 bytes are read, so no more need
    /// be fetched.
    ///
    /// # Errors
    /// [`FetchError`] if the file cannot be opened, or it is unknown whether it exists.
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError>;

    /// Opens a metadata file; `None` if there is none. Sources that ask by URL override this and ask for
    /// [`MetadataFileName::url_segment`]; in a directory the file has the name that [`MetadataFileName`] shows.
    ///
    /// # Errors
    /// As [`Fetch::fetch`].
    fn fetch_metadata(&self, name: &MetadataFileName, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        self.fetch(&name.to_string(), max)
    }
}

impl<F: Fetch + ?Sized> Fetch for &F {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        (**self).fetch(path, max)
    }

    fn fetch_metadata(&self, name: &MetadataFileName, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        (**self).fetch_metadata(name, max)
    }
}

impl<F: Fetch + ?Sized> Fetch for Box<F> {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        (**self).fetch(path, max)
    }

    fn fetch_metadata(&self, name: &MetadataFileName, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        (**self).fetch_metadata(name, max)
    }
}
