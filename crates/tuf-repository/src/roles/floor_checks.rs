//! The repository compared with the floor of a role.

use tuf_core::time::UtcTime;

use super::error::{FloorItem, RoleError};
use super::snapshot_reader::SnapshotReader;
use crate::floor::{Floor, FloorFile, RecordFloor};
use crate::log::Log;

/// A role waits for a clock that is this many seconds behind: time servers set clocks back by that much.
pub(super) const MAX_CLOCK_STEP_SECONDS: i64 = 5;

/// How the log is below a floor, if it is.
///
/// # Errors
/// [`RoleError::FileUnreadable`]: the log may not be below the floor at all. [`RoleError::Store`].
pub(super) fn log_below_floor(log: &Log, floor: Option<RecordFloor>) -> Result<Option<RoleError>, RoleError> {
    let Some(floor) = floor else { return Ok(None) };
    if log.position() < floor.number {
        // A file that cannot be read is no record that is gone. A recovery would lose its releases.
        if let Some((file, source)) = log.unreadable_up_to(floor.number)? {
            return Err(RoleError::FileUnreadable { file, source });
        }
        let (floor, found) = (floor.number, log.position());
        return Ok(Some(RoleError::BelowFloor { item: FloorItem::Record, floor, found }));
    }
    if log.position() == floor.number && log.head_digest() != Some(floor.digest) {
        return Ok(Some(RoleError::RecordReplaced { number: floor.number }));
    }
    Ok(None)
}

/// How the newest snapshot is below a floor, if it is.
///
/// # Errors
/// [`RoleError::FileUnreadable`]: a newer snapshot may be there. [`RoleError::Store`].
pub(super) fn snapshot_below_floor(snapshots: &SnapshotReader, floor: &Floor) -> Result<Option<RoleError>, RoleError> {
    let found = snapshots.version();
    if found >= floor.snapshot {
        return Ok(None);
    }
    if let Some((file, source)) = snapshots.unreadable_up_to(floor.snapshot)? {
        return Err(RoleError::FileUnreadable { file, source });
    }
    Ok(Some(RoleError::BelowFloor { item: FloorItem::Snapshot, floor: floor.snapshot, found }))
}

/// How the served timestamp is below a floor, if it is.
pub(super) fn timestamp_below_floor(version: u64, floor: &Floor) -> Option<RoleError> {
    let (item, floor) = (FloorItem::Timestamp, floor.timestamp);
    (version < floor).then_some(RoleError::BelowFloor { item, floor, found: version })
}

/// Refuses to sign at a time before the last signing: either this clock is wrong, or the clock at that time was. A grant
/// says that the earlier clock was wrong.
pub(super) fn check_clock(floor: &mut FloorFile, now: UtcTime) -> Result<(), RoleError> {
    let known = floor.get().unwrap_or_default();
    let behind = known.signed.saturating_sub(now.unix());
    if behind <= 0 {
        return Ok(());
    }
    if behind <= MAX_CLOCK_STEP_SECONDS {
        return Err(RoleError::ClockBehind { seconds: behind });
    }
    if floor.recovery_granted()? {
        tracing::warn!(reason = %clock_behind(&known, now), "resuming with an earlier clock");
        floor.recovered(now, |_| {})?;
        return Ok(());
    }
    Err(clock_behind(&known, now))
}

pub(super) fn clock_behind(floor: &Floor, now: UtcTime) -> RoleError {
    RoleError::ClockBeforeLastSigning { now, signed: UtcTime::from_unix(floor.signed) }
}
