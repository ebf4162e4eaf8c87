//! Waiting for what other processes do.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);
/// Longer than anything takes on a busy machine, shorter than anybody's patience.
const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until `look` finds something.
///
/// # Panics
///
/// After a minute, naming `what` it waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    eventually_ok(what, || look().ok_or_else(|| "it is not there".to_owned()))
}

/// Tries until `attempt` succeeds.
///
/// # Panics
///
/// After a minute, naming `what` it waited for and how the last attempt failed.
#[track_caller]
pub fn eventually_ok<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(problem) => assert!(Instant::now() < until, "{what}, within {DEADLINE:?}: {problem}"),
        }
        std::thread::sleep(POLL);
    }
}
