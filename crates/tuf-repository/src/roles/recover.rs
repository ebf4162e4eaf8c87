//! State below the floor, and how a role goes on from it.
//!
//! A share that was restored to yesterday lacks versions that clients have seen. Going on from it would sign numbers
//! that clients refuse, or other bytes under numbers they know. So a role stops, until an administrator grants that it
//! goes on ([`crate::floor::FloorFile::grant_recovery`]): once, from the state that was found, and *above* everything that was
//! ever signed. What was released since the backup is gone and has to be released again.
//!
//! - The targets role writes one record that uses up every lost number and gives every role a version above all others.
//! - The snapshot and the timestamp role leave the lost versions out.
//!
//! The floor is raised after a file is durable, so that a crash may leave it one behind: [`MARGIN`] covers that, and
//! writers that stepped over squatted names. Where the floor does not know the highest role version (it was written by a
//! version before 2) [`UNKNOWN_MARGIN`] is added to the lost records instead.

use super::snapshots::Snapshots;
use super::targets::check_log_floor;
use super::{MAX_TIMESTAMP, Repository, RoleError, Trust};
use crate::floor::{Floor, FloorFile, RecordFloor};
use crate::log::Log;
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Metadata, Timestamp};
use tuf_core::sha256::Sha256;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

/// How many numbers above the floor are left out.
pub const MARGIN: u64 = 16;
/// How many role versions are left out when the highest is not known, above one per lost record.
pub const UNKNOWN_MARGIN: u64 = 1_000;
/// A clock this many seconds behind is waited for: time servers set clocks back by that much.
const CLOCK_STEP: i64 = 5;

/// What of a role is below its floor, as an administrator reads it; nothing when all is well. No key is needed.
///
/// # Errors
/// [`RoleError::Alarm`] when it cannot be gone on from: a root that is missing has to be put back, and so does a log
/// without any record.
pub fn below_floor(
    role: &RoleName,
    repository: &Repository,
    trust: &mut Trust,
    floor: &Floor,
    now: UtcTime,
) -> Result<Vec<String>, RoleError> {
    trust.refresh(0, now)?;
    if trust.version() < floor.root {
        return Err(RoleError::Alarm(format!(
            "root version {} is below the floor {}: put back the root files in between, which every client and backup has",
            trust.version(),
            floor.root
        )));
    }
    let mut found = Vec::new();
    match role.as_str() {
        "targets" => {
            let log = read_log(repository, trust)?;
            if let Err(below) = check_log_floor(&log, floor.record) {
                if log.head() == 0 {
                    return Err(RoleError::Alarm(format!(
                        "{below}; no record is left: restore a backup of the log first"
                    )));
                }
                found.push(below.to_string());
            }
        }
        "snapshot" => {
            let version = newest_snapshot(repository, trust)?;
            found.extend(check_snapshot(version, floor).err().map(|below| below.to_string()));
        }
        "timestamp" => {
            let version = served_timestamp(repository, trust)?;
            found.extend(check_timestamp(version, floor).err().map(|below| below.to_string()));
        }
        other => return Err(RoleError::Refused(format!("the role {other} keeps no floor"))),
    }
    if floor.signed > now.unix() + CLOCK_STEP {
        found.push(clock_behind(floor, now));
    }
    Ok(found)
}

/// A floor in the place of one that is lost: `numbers` above what the repository shows, and no lower than `known`. All
/// that clients may have seen has to be in between; what the repository shows is then below that floor, and the role goes
/// on above it as it does after [`crate::floor::FloorFile::grant_recovery`]. No key is needed.
///
/// # Errors
/// [`RoleError::Alarm`] when there is nothing to go on from.
pub fn floor_above(
    role: &RoleName,
    repository: &Repository,
    trust: &mut Trust,
    known: &Floor,
    numbers: u64,
    now: UtcTime,
) -> Result<Floor, RoleError> {
    trust.refresh(known.root, now)?;
    let mut floor = *known;
    match role.as_str() {
        "targets" => {
            let log = read_log(repository, trust)?;
            if log.head() == 0 {
                return Err(RoleError::Alarm("no record is left: restore a backup of the log first".into()));
            }
            let number = log.position().saturating_add(numbers);
            if floor.record.is_none_or(|record| record.number < number) {
                // No record has this digest: whatever is found under the number is not what was signed.
                floor.record = Some(RecordFloor { digest: Sha256::from([0; 32]), number });
            }
            floor.role_version = floor.role_version.max(highest_version(&log).saturating_add(numbers));
        }
        "snapshot" => {
            floor.snapshot = floor.snapshot.max(newest_snapshot(repository, trust)?.saturating_add(numbers));
        }
        "timestamp" => {
            floor.timestamp = floor.timestamp.max(served_timestamp(repository, trust)?.saturating_add(numbers));
        }
        other => return Err(RoleError::Refused(format!("the role {other} keeps no floor"))),
    }
    Ok(floor)
}

fn read_log(repository: &Repository, trust: &Trust) -> Result<Log, RoleError> {
    let mut log = Log::new(repository.log.clone());
    log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
    Ok(log)
}

fn newest_snapshot(repository: &Repository, trust: &Trust) -> Result<u64, RoleError> {
    let mut snapshots = Snapshots::new(repository.metadata.clone());
    snapshots.refresh(trust)?;
    Ok(snapshots.newest().map_or(0, |newest| newest.document.version()))
}

fn served_timestamp(repository: &Repository, trust: &Trust) -> Result<u64, RoleError> {
    let file = repository.metadata.read(&FileName::new("timestamp.json")?, MAX_TIMESTAMP)?;
    Ok(file
        .and_then(|file| Envelope::parse(file).ok())
        .filter(|envelope| trust.verify(&RoleName::timestamp(), envelope).is_ok())
        .and_then(|envelope| Timestamp::from_envelope(&envelope).ok())
        .map_or(0, |timestamp| timestamp.version))
}

/// Holds the newest snapshot against a floor.
pub(super) fn check_snapshot(version: u64, floor: &Floor) -> Result<(), RoleError> {
    if version >= floor.snapshot {
        return Ok(());
    }
    Err(RoleError::Alarm(format!(
        "the newest snapshot is version {version}, below the floor {}: it was restored or rolled back",
        floor.snapshot
    )))
}

/// Holds the served timestamp against a floor.
pub(super) fn check_timestamp(version: u64, floor: &Floor) -> Result<(), RoleError> {
    if version >= floor.timestamp {
        return Ok(());
    }
    Err(RoleError::Alarm(format!(
        "the served timestamp is version {version}, below the floor {}: it was restored or rolled back",
        floor.timestamp
    )))
}

/// Refuses to sign at a time before the last signing: either this clock is wrong, or the one then was. A grant says that
/// it was the one then.
pub(super) fn check_clock(floor: &mut FloorFile, now: UtcTime) -> Result<(), RoleError> {
    let known = floor.get().unwrap_or_default();
    let behind = known.signed.saturating_sub(now.unix());
    if behind <= 0 {
        return Ok(());
    }
    if behind <= CLOCK_STEP {
        return Err(RoleError::Waiting(format!("the clock is {behind} s behind the last signing")));
    }
    if floor.recovery_granted()? {
        tracing::warn!("signing again from {now} on: {}", clock_behind(&known, now));
        floor.recovered(now)?;
        return Ok(());
    }
    Err(RoleError::Alarm(clock_behind(&known, now)))
}

fn clock_behind(floor: &Floor, now: UtcTime) -> String {
    format!(
        "the clock says {now}, before the last signing at {}: one of the two is wrong",
        UtcTime::from_unix(floor.signed)
    )
}

/// A version above every version any role of the targets keys may have had.
pub(super) fn role_version_above(floor: &Floor, log: &Log) -> u64 {
    let on_disk = highest_version(log);
    if floor.role_version > 0 {
        return floor.role_version.max(on_disk) + MARGIN;
    }
    let lost = floor.record.map_or(0, |record| record.number).saturating_sub(log.position());
    on_disk + lost + UNKNOWN_MARGIN
}

/// The highest version of any role in the log.
pub(super) fn highest_version(log: &Log) -> u64 {
    log.roles().values().map(|entry| entry.version).max().unwrap_or(0)
}
