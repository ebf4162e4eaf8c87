//! The exceptions with which tasks of the fleet fail, as a Python caller sees them: classes of the module
//! `tuf_fleet.exceptions`, named by what the caller should do next.

use celery_runtime::TaskError;

/// The module of all of them.
pub const MODULE: &str = "tuf_fleet.exceptions";
/// Something the work needs is not there yet; asking again later may succeed.
pub const NOT_READY: &str = "NotReady";
/// Something is wrong that an operator has to look at; asking again will not help.
pub const ALARM: &str = "Alarm";
/// The world failed (space, mount, lock, key device); asking again may succeed.
pub const INFRASTRUCTURE: &str = "Infrastructure";
/// What was asked for cannot be done; asking for the same again will fail again.
pub const REFUSED: &str = "Refused";
/// A batch directory is not there, or not whole; the monitor makes it again.
pub const BATCH_MISSING: &str = "BatchMissing";
/// A bug of ours, contained.
pub const INTERNAL: &str = "Internal";
/// The task may only be sent by an operator, through the administrators' exchange.
pub const NOT_PERMITTED: &str = "NotPermitted";

/// What a caller should do about a failed task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Ask again, after a while.
    Again,
    /// Wait for an operator; ask again at a slow pace.
    Operator,
    /// Do not ask for the same again.
    Never,
}

/// What to do about `error`. An exception that is not ours (unknown task, bad arguments, a revoked task) is
/// [`Advice::Never`].
#[must_use]
pub fn advice(error: &TaskError) -> Advice {
    if error.exc_module != MODULE {
        return Advice::Never;
    }
    match error.exc_type.as_str() {
        NOT_READY | INFRASTRUCTURE | INTERNAL => Advice::Again,
        ALARM => Advice::Operator,
        _ => Advice::Never,
    }
}

/// An exception of ours.
#[must_use]
pub fn exception(class: &str, message: impl Into<String>) -> TaskError {
    TaskError::custom(MODULE, class, message)
}
