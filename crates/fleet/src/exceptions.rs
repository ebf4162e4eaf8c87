//! The exceptions with which tasks of the fleet fail, as a Python caller sees them: classes of the module
//! `tuf_fleet.exceptions`, named by what the caller should do next.

use celery_runtime::TaskError;

/// The module of all of them.
pub const MODULE: &str = "tuf_fleet.exceptions";
/// A prerequisite does not exist yet; a later attempt may succeed.
pub const NOT_READY: &str = "NotReady";
/// An operator has to act; another attempt does not help.
pub const ALARM: &str = "Alarm";
/// The machine failed (space, mount, lock, key device); another attempt may succeed.
pub const INFRASTRUCTURE: &str = "Infrastructure";
/// The request cannot be fulfilled; the same request fails again.
pub const REFUSED: &str = "Refused";
/// A batch directory is missing or incomplete; the monitor creates it again.
pub const BATCH_MISSING: &str = "BatchMissing";
/// A bug in the worker; it continues.
pub const INTERNAL: &str = "Internal";
/// The task may only be sent by an operator, through the administrators' exchange.
pub const NOT_PERMITTED: &str = "NotPermitted";

/// An exception of ours.
#[must_use]
pub fn exception(class: &str, message: impl Into<String>) -> TaskError {
    TaskError::custom(MODULE, class, message)
}
