//! Retention, role by role: each deletes what it alone may delete, by the rules of [`crate::retention`].
//!
//! Nothing here is part of publishing, nothing depends on it having run, and a crash in between leaves less to delete.

mod kept;
mod snapshot;
mod sweep;
mod targets;
mod timestamp;

use super::{MAX_TIMESTAMP, Repository, RoleError, Trust};
use crate::retention::{Mark, Retention};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Metadata, Timestamp};
use tuf_core::store::{FileName, Store};
use tuf_core::time::UtcTime;

/// Notes what is served now; false when that is nothing a client would accept. Then nothing is deleted: either the
/// fleet is in trouble or this process's clock is wrong.
fn note_served(
    repository: &Repository,
    trust: &Trust,
    retention: &mut Retention,
    now: UtcTime,
) -> Result<bool, RoleError> {
    let file = FileName::new("timestamp.json")?;
    let Some(stat) = repository.metadata.stat(&file)? else { return Ok(false) };
    let Some(bytes) = repository.metadata.read(&file, MAX_TIMESTAMP)? else { return Ok(false) };
    let Ok(envelope) = Envelope::parse(bytes) else { return Ok(false) };
    if trust.verify(&RoleName::timestamp(), &envelope).is_err() {
        return Ok(false);
    }
    let Ok(timestamp) = Timestamp::from_envelope(&envelope) else { return Ok(false) };
    if timestamp.expires <= now {
        return Ok(false);
    }
    // The later of two clocks: a mark too late keeps things longer.
    let time = now.max(UtcTime::from_unix(stat.mtime));
    let mark = Mark { snapshot: timestamp.snapshot.version, time, timestamp: timestamp.version };
    retention
        .note(mark, now)
        .map_err(|error| RoleError::Infrastructure(format!("what is served cannot be noted for retention: {error}")))?;
    Ok(true)
}

/// Removes files. What cannot be removed is reported and left: nothing depends on its going.
fn remove(store: &dyn Store, names: &[FileName]) -> u64 {
    if names.is_empty() {
        return 0;
    }
    match store.remove(names) {
        Ok(()) => names.len() as u64,
        Err(error) => {
            tracing::warn!("retention left files behind: {error}");
            0
        }
    }
}

/// Removes temporary files of processes that were killed.
fn remove_stale(store: &dyn Store, dir: &str, before: i64) -> u64 {
    store.remove_stale(dir, before).unwrap_or_else(|error| {
        tracing::warn!("retention left temporary files behind: {error}");
        0
    })
}
