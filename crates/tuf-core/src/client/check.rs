//! Checks of one metadata file against its entry and against the version trusted before.

use super::error::ClientError;
use crate::envelope::Envelope;
use crate::names::RoleName;
use crate::schema::{Metadata, RoleMeta};
use crate::time::UtcTime;

pub(super) fn parse_envelope(path: &str, file: Vec<u8>) -> Result<Envelope, ClientError> {
    Envelope::parse(file).map_err(|error| ClientError::Parse { path: path.to_owned(), error })
}

pub(super) fn read_metadata<D: Metadata>(path: &str, envelope: &Envelope) -> Result<D, ClientError> {
    D::from_envelope(envelope).map_err(|error| ClientError::Parse { path: path.to_owned(), error })
}

pub(super) fn is_listed(path: &str, listed: &RoleMeta, file: &[u8]) -> Result<(), ClientError> {
    let found = file.len() as u64;
    if let Some(expected) = listed.length
        && found != expected
    {
        return Err(ClientError::Length { path: path.to_owned(), found, expected });
    }
    match &listed.hashes {
        Some(hashes) => hashes.check(file).map_err(|error| ClientError::Hash { path: path.to_owned(), error }),
        None => Ok(()),
    }
}

pub(super) fn is_version(path: &str, listed: &RoleMeta, found: u64) -> Result<(), ClientError> {
    if found == listed.version {
        return Ok(());
    }
    Err(ClientError::Version { path: path.to_owned(), found, expected: listed.version })
}

pub(super) fn not_back(role: &RoleName, trusted: u64, found: u64) -> Result<(), ClientError> {
    if found < trusted {
        return Err(ClientError::Rollback { role: role.clone(), trusted, found });
    }
    Ok(())
}

pub(super) fn not_expired(role: &RoleName, metadata: &impl Metadata, now: UtcTime) -> Result<(), ClientError> {
    if metadata.is_expired(now) {
        return Err(ClientError::Expired {
            role: role.clone(),
            version: metadata.version(),
            expires: metadata.expires(),
        });
    }
    Ok(())
}
