//! Notes which timestamp and snapshot clients get.

use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Metadata, Timestamp};
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

use crate::retention::{Retention, ServedMark};
use crate::roles::error::RoleError;
use crate::roles::limits::MAX_TIMESTAMP;
use crate::roles::repository_stores::RepositoryStores;
use crate::roles::trust::Trust;

/// Adds a mark of the served timestamp. False when clients would refuse that timestamp: then nothing may be deleted,
/// because the repository is broken or this process's clock is wrong.
pub(super) fn note_served(
    repository: &RepositoryStores,
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
    // The later of two clocks: a late mark only keeps files longer.
    let time = now.max(UtcTime::from_unix(stat.mtime));
    let mark = ServedMark { snapshot: timestamp.snapshot.version, time, timestamp: timestamp.version };
    retention.add_mark(mark, now).map_err(|source| RoleError::RetentionMarks { source })?;
    Ok(true)
}
