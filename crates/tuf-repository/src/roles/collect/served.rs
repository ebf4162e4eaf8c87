//! Notes which timestamp and snapshot clients get.

use tuf_core::document::Document;
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Hashes, Metadata, Timestamp};
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

use crate::named_file::NamedFile;
use crate::retention::{Retention, ServedMark};
use crate::roles::error::RoleError;
use crate::roles::limits::MAX_TIMESTAMP;
use crate::roles::repository_stores::RepositoryStores;
use crate::roles::snapshot_reader::SnapshotReader;
use crate::roles::trust::Trust;

/// Adds a mark of the served timestamp. False when clients would refuse that timestamp, or the snapshot that it names: then
/// nothing may be deleted, because the repository is broken, another role's key is stolen, or this process's clock is wrong.
/// `plausible` checks the snapshot against this role's own state.
pub(super) fn note_served(
    repository: &RepositoryStores,
    trust: &Trust,
    snapshots: &SnapshotReader,
    retention: &mut Retention,
    now: UtcTime,
    plausible: impl Fn(&Document) -> bool,
) -> Result<bool, RoleError> {
    let file = FileName::new("timestamp.json")?;
    let Some(stat) = repository.metadata.stat(&file)? else { return Ok(false) };
    let read = NamedFile::read(repository.metadata.as_ref(), &file, MAX_TIMESTAMP)?;
    let Some(bytes) = read.bytes() else { return Ok(false) };
    let Ok(envelope) = Envelope::parse(bytes) else { return Ok(false) };
    if trust.verify(&RoleName::timestamp(), &envelope).is_err() {
        return Ok(false);
    }
    let Ok(timestamp) = Timestamp::from_envelope(&envelope) else { return Ok(false) };
    if timestamp.expires <= now {
        return Ok(false);
    }
    // A number proves nothing: with a stolen timestamp key, a timestamp can name any snapshot.
    let named = &timestamp.snapshot;
    let snapshot = snapshots.of_version(trust, named.version)?.filter(|snapshot| {
        let sha256 = named.hashes.as_ref().and_then(Hashes::sha256);
        sha256.is_none_or(|sha256| sha256 == snapshot.sha256) && plausible(&snapshot.document)
    });
    if snapshot.is_none() {
        tracing::error!(
            timestamp.version = timestamp.version,
            snapshot.version = named.version,
            "nothing is deleted: the served timestamp names a snapshot that does not verify"
        );
        return Ok(false);
    }
    // The later of two clocks: a late mark only keeps files longer.
    let time = now.max(UtcTime::from_unix(stat.mtime));
    let mark = ServedMark { snapshot: timestamp.snapshot.version, time, timestamp: timestamp.version };
    retention.add_mark(mark, now).map_err(|source| RoleError::RetentionMarks { source })?;
    Ok(true)
}
