//! Where an audit reads metadata from.

use crate::client::{Fetch, FetchError};

/// A metadata directory. Nothing it returns is trusted.
pub trait MetadataSource: Fetch {
    /// Names of all files in the directory, or `None` where that cannot be had, as over HTTP. Some rules can be
    /// checked only with it: versions that go back, gaps, leftovers.
    ///
    /// # Errors
    /// [`FetchError`] if the directory can be listed in principle and could not be now.
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        Ok(None)
    }
}
