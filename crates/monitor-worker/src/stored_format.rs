//! The format version of the files that the monitor keeps.

use std::io;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a stored file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredFormatError {
    /// A newer version wrote it.
    #[error("it has format {format}; this version reads up to {newest}: upgrade the monitor-worker")]
    Newer {
        /// The format of the file.
        format: u64,
        /// The newest format that this version reads.
        newest: u64,
    },
    /// It is damaged, or another program's.
    #[error("it is not in the expected format: {0}")]
    Malformed(#[source] serde_json::Error),
}

impl From<StoredFormatError> for io::Error {
    fn from(error: StoredFormatError) -> Self {
        let kind = match error {
            StoredFormatError::Newer { .. } => io::ErrorKind::Unsupported,
            StoredFormatError::Malformed(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Reads a stored file. The format version is read first, because a newer file may have a different structure.
///
/// # Errors
/// [`StoredFormatError`]; as an [`io::Error`] it is `Unsupported` for a format above `newest`, else `InvalidData`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], newest: u64) -> Result<T, StoredFormatError> {
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u64,
    }
    let FormatOnly { format } = serde_json::from_slice(bytes).map_err(StoredFormatError::Malformed)?;
    if format > newest {
        return Err(StoredFormatError::Newer { format, newest });
    }
    serde_json::from_slice(bytes).map_err(StoredFormatError::Malformed)
}
