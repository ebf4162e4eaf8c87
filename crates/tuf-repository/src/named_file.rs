//! A file under a name that anyone may have used.

use tuf_core::store::{FileName, Store, StoreError};

/// The content of a name.
#[derive(Debug)]
pub(crate) enum NamedFile {
    /// There is no file of that name.
    Missing,
    /// The bytes of the file.
    Bytes(Vec<u8>),
    /// Something else holds the name: a file that is too long or not readable, a directory, a link.
    Unusable(StoreError),
}

impl NamedFile {
    /// Reads at most `max` bytes.
    ///
    /// # Errors
    /// A fault of the store. A fault of this one file is [`NamedFile::Unusable`].
    pub(crate) fn read(store: &dyn Store, name: &FileName, max: u64) -> Result<Self, StoreError> {
        match store.read(name, max) {
            Ok(Some(bytes)) => Ok(Self::Bytes(bytes)),
            Ok(None) => Ok(Self::Missing),
            Err(error) if error.is_of_the_file() => Ok(Self::Unusable(error)),
            Err(error) => Err(error),
        }
    }

    /// Whether something holds the name.
    ///
    /// # Errors
    /// A fault of the store.
    pub(crate) fn exists(store: &dyn Store, name: &FileName) -> Result<bool, StoreError> {
        // Reading shows what a stat does not: a directory or a link.
        Ok(!matches!(Self::read(store, name, 0)?, Self::Missing))
    }

    /// The bytes, if there are any.
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Missing | Self::Unusable(_) => None,
        }
    }
}
