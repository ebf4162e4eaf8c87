//! Bounded reads of whole files.

use std::io::Read;

use super::error::ClientError;
use super::fetch::Fetch;

pub(super) fn open<'a>(
    source: &'a (impl Fetch + ?Sized),
    path: &str,
    max: u64,
) -> Result<Option<Box<dyn Read + 'a>>, ClientError> {
    source.fetch(path, max).map_err(|error| ClientError::Fetch { path: path.to_owned(), error })
}

/// The whole file, which must not be larger than `max`.
pub(super) fn read_all(source: &(impl Fetch + ?Sized), path: &str, max: u64) -> Result<Option<Vec<u8>>, ClientError> {
    let Some(file) = open(source, path, max)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| ClientError::Read { path: path.to_owned(), error })?;
    if bytes.len() as u64 > max {
        return Err(ClientError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}
