//! How a role resumes after a restore.
//!
//! A share that was restored to yesterday lacks versions that clients have seen. A role that continued from it would sign
//! version numbers that clients refuse, or other bytes under numbers that clients know. So the role stops until an
//! administrator grants a recovery ([`crate::floor::FloorFile::grant_recovery`]). It then resumes once, from the present
//! state, with numbers *above* everything that it ever signed. Releases made since the backup are lost and must be released
//! again.
//!
//! - The targets role writes one record that uses up every lost number and gives every role a version above all others.
//! - The snapshot role and the timestamp role skip the lost versions.
//!
//! A role raises its floor after the file is durable, so that a crash may leave the floor one behind. [`VERSION_MARGIN`]
//! covers that, and writers that stepped over squatted names. Where the floor does not hold the highest role version (a
//! version of this software before floor format 2 wrote it), [`UNKNOWN_VERSION_MARGIN`] is added to the lost records
//! instead.

use super::error::{FloorItem, RoleError};
use super::floor_checks::{
    MAX_CLOCK_STEP_SECONDS, clock_behind, log_below_floor, snapshot_below_floor, timestamp_below_floor,
};
use super::limits::MAX_TIMESTAMP;
use super::repository_stores::RepositoryStores;
use super::snapshot_reader::SnapshotReader;
use super::trust::Trust;
use crate::floor::{Floor, RecordFloor};
use crate::log::Log;
use crate::named_file::NamedFile;
use crate::numbered::{MAX_NUMBER, is_reachable};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Metadata, Timestamp};
use tuf_core::sha256::Sha256;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

/// Numbers above the floor that are skipped.
pub const VERSION_MARGIN: u64 = 16;
/// Role versions that are skipped when the highest is unknown, above one per lost record.
pub const UNKNOWN_VERSION_MARGIN: u64 = 1_000;

/// The numbers up to which all count as used when a role resumes from the verified number `verified` below `floor`.
///
/// A floor that no release can have reached is left below: the role resumes from the verified number. Clients that have seen a
/// number near that floor need a root with a new key for the role, which makes them forget it.
pub(super) fn used_up_to(floor: u64, verified: u64) -> u64 {
    if is_reachable(floor) { floor + VERSION_MARGIN } else { verified.saturating_add(VERSION_MARGIN) }
}

/// A role that keeps a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlooredRole {
    /// Signs targets metadata and bins; its floor is a commit record.
    Targets,
    /// Signs the snapshot.
    Snapshot,
    /// Signs the timestamp.
    Timestamp,
}

impl FlooredRole {
    /// Every role that keeps a floor, in the order in which a release passes them.
    pub const ALL: [Self; 3] = [Self::Targets, Self::Snapshot, Self::Timestamp];
}

/// The reasons why the repository is below the floor of a role. Empty when it is not below the floor. Needs no key.
///
/// # Errors
/// [`RoleError::BelowFloor`] for the root and [`RoleError::LogEmpty`]: the role cannot resume before the missing root
/// files, or a backup of the log, are back. [`RoleError`].
pub fn below_floor(
    role: FlooredRole,
    repository: &RepositoryStores,
    trust: &mut Trust,
    floor: &Floor,
    now: UtcTime,
) -> Result<Vec<RoleError>, RoleError> {
    trust.refresh(0, now)?;
    if trust.version() < floor.root {
        return Err(RoleError::BelowFloor { item: FloorItem::Root, floor: floor.root, found: trust.version() });
    }
    let mut found = Vec::new();
    match role {
        FlooredRole::Targets => {
            let log = read_log(repository, trust)?;
            if let Some(below) = log_below_floor(&log, floor.record)? {
                if log.head() == 0 {
                    return Err(RoleError::LogEmpty);
                }
                found.push(below);
            }
        }
        FlooredRole::Snapshot => {
            found.extend(snapshot_below_floor(&read_snapshots(repository, trust)?, floor)?);
            if floor.record.is_some_and(|record| !is_reachable(record.number)) {
                found.extend(log_below_floor(&read_log(repository, trust)?, floor.record)?);
            }
        }
        FlooredRole::Timestamp => {
            let version = served_timestamp(repository, trust)?;
            found.extend(timestamp_below_floor(version, floor));
            if !is_reachable(floor.snapshot) {
                found.extend(snapshot_below_floor(&read_snapshots(repository, trust)?, floor)?);
            }
        }
    }
    if floor.signed > now.unix() + MAX_CLOCK_STEP_SECONDS {
        found.push(clock_behind(floor, now));
    }
    Ok(found)
}

/// A floor that replaces a lost one: `numbers` above the state of the repository, and no lower than `known`. Choose
/// `numbers` so that everything that clients may have seen is below. The repository is then below that floor, and the role
/// resumes above it after [`crate::floor::FloorFile::grant_recovery`]. Needs no key.
///
/// # Errors
/// [`RoleError::LogEmpty`]; [`RoleError::BeyondTooHigh`]; [`RoleError`].
pub fn floor_above(
    role: FlooredRole,
    repository: &RepositoryStores,
    trust: &mut Trust,
    known: &Floor,
    numbers: u64,
    now: UtcTime,
) -> Result<Floor, RoleError> {
    trust.refresh(known.root, now)?;
    let mut floor = *known;
    match role {
        FlooredRole::Targets => {
            let log = read_log(repository, trust)?;
            if log.head() == 0 {
                return Err(RoleError::LogEmpty);
            }
            let number = above(log.position(), numbers, &RoleName::targets())?;
            if floor.record.is_none_or(|record| record.number < number) {
                // No record has this digest: a record found under the number is not the one that was signed.
                floor.record = Some(RecordFloor { digest: Sha256::from([0; 32]), number });
            }
            floor.role_version = floor.role_version.max(above(highest_version(&log), numbers, &RoleName::targets())?);
        }
        FlooredRole::Snapshot => {
            let newest = read_snapshots(repository, trust)?.version();
            floor.snapshot = floor.snapshot.max(above(newest, numbers, &RoleName::snapshot())?);
        }
        FlooredRole::Timestamp => {
            let served = served_timestamp(repository, trust)?;
            floor.timestamp = floor.timestamp.max(above(served, numbers, &RoleName::timestamp())?);
        }
    }
    Ok(floor)
}

/// `numbers` above `verified`, if a role can resume there.
fn above(verified: u64, numbers: u64, role: &RoleName) -> Result<u64, RoleError> {
    let number = verified.saturating_add(numbers);
    if is_reachable(number) { Ok(number) } else { Err(RoleError::BeyondTooHigh { role: role.clone(), number }) }
}

fn read_log(repository: &RepositoryStores, trust: &Trust) -> Result<Log, RoleError> {
    let mut log = Log::new(repository.log.clone());
    log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
    Ok(log)
}

fn read_snapshots(repository: &RepositoryStores, trust: &Trust) -> Result<SnapshotReader, RoleError> {
    let mut snapshots = SnapshotReader::new(repository.metadata.clone());
    snapshots.refresh(trust)?;
    Ok(snapshots)
}

fn served_timestamp(repository: &RepositoryStores, trust: &Trust) -> Result<u64, RoleError> {
    let file = NamedFile::read(repository.metadata.as_ref(), &FileName::new("timestamp.json")?, MAX_TIMESTAMP)?;
    Ok(file
        .bytes()
        .and_then(|file| Envelope::parse(file).ok())
        .filter(|envelope| trust.verify(&RoleName::timestamp(), envelope).is_ok())
        .and_then(|envelope| Timestamp::from_envelope(&envelope).ok())
        .filter(|timestamp| timestamp.version <= MAX_NUMBER)
        .map_or(0, |timestamp| timestamp.version))
}

/// A version above every version that any role of the targets keys may have had.
pub(super) fn role_version_above(floor: &Floor, log: &Log) -> u64 {
    let on_disk = highest_version(log);
    if floor.role_version > 0 && is_reachable(floor.role_version) {
        return floor.role_version.max(on_disk) + VERSION_MARGIN;
    }
    let record = floor.record.map_or(0, |record| record.number);
    let lost = if is_reachable(record) { record.saturating_sub(log.position()) } else { 0 };
    on_disk.saturating_add(lost + UNKNOWN_VERSION_MARGIN)
}

/// The highest version of any role in the log.
pub(super) fn highest_version(log: &Log) -> u64 {
    log.roles().values().map(|entry| entry.version).max().unwrap_or(0)
}
