//! Where an audit reads metadata from.

use crate::client::{Fetch, FetchError};

/// A metadata directory. Nothing it returns is trusted.
pub trait MetadataSource: Fetch {
    /// Names of all files in the directory, or `None` if they cannot be listed, as over HTTP. Some rules are checked
    /// only with them: versions that decrease, gaps, leftovers.
    ///
    /// # Errors
    /// [`FetchError`] if listing a directory that can be listed failed.
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        Ok(None)
    }
}
