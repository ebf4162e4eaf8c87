//! The repository compared with the floor of a role.

use tuf_core::time::UtcTime;

use super::error::{FloorItem, RoleError};
use crate::floor::{Floor, FloorFile, RecordFloor};
use crate::log::Log;

/// A role waits for a clock that is this many seconds behind: time servers set clocks back by that much.
pub(super) const MAX_CLOCK_STEP_SECONDS: i64 = 5;

/// Checks the log against a floor.
pub(super) fn check_log_floor(log: &Log, floor: Option<RecordFloor>) -> Result<(), RoleError> {
    let Some(floor) = floor else { return Ok(()) };
    if log.position() < floor.number {
        let (floor, found) = (floor.number, log.position());
        return Err(RoleError::BelowFloor { item: FloorItem::Record, floor, found });
    }
    if log.position() == floor.number && log.head_digest() != Some(floor.digest) {
        return Err(RoleError::RecordReplaced { number: floor.number });
    }
    Ok(())
}

/// Checks the newest snapshot against a floor.
pub(super) fn check_snapshot(version: u64, floor: &Floor) -> Result<(), RoleError> {
    if version >= floor.snapshot {
        return Ok(());
    }
    Err(RoleError::BelowFloor { item: FloorItem::Snapshot, floor: floor.snapshot, found: version })
}

/// Checks the served timestamp against a floor.
pub(super) fn check_timestamp(version: u64, floor: &Floor) -> Result<(), RoleError> {
    if version >= floor.timestamp {
        return Ok(());
    }
    Err(RoleError::BelowFloor { item: FloorItem::Timestamp, floor: floor.timestamp, found: version })
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
