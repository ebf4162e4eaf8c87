//! Bounded reads of whole files.

use std::io::Read;

use super::error::ClientError;
use super::fetch::Fetch;
use crate::names::MetadataFileName;

/// Reads a whole metadata file, which must not be larger than `max`.
pub(super) fn read_all(
    source: &(impl Fetch + ?Sized),
    name: &MetadataFileName,
    max: u64,
) -> Result<Option<Vec<u8>>, ClientError> {
    let path = || name.to_string();
    let fetched = source.fetch_metadata(name, max);
    let Some(file) = fetched.map_err(|error| ClientError::Fetch { path: path(), error })? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| ClientError::Read { path: path(), error })?;
    if bytes.len() as u64 > max {
        return Err(ClientError::TooLarge { path: path(), max });
    }
    Ok(Some(bytes))
}
