//! What the exit code of `rugged` says. Scripts may rely on these.

/// What was asked for was done, or the answer is yes.
pub const OK: u8 = 0;
/// The answer is no: a finding of `validate`, a rejected drop, a worker that is not well.
pub const FINDING: u8 = 1;
/// The command line or the configuration is wrong, or what it names cannot be looked at. Nothing was changed.
pub const USAGE: u8 = 2;
/// Nobody answered in time: no worker, no broker, no receipt. The work may still be done.
pub const NO_ANSWER: u8 = 3;
/// A worker took the task and said that it failed.
pub const TASK_FAILED: u8 = 4;
/// Refused for the sake of the keys or the repository.
pub const REFUSED: u8 = 5;
/// Something this command stands on failed: a directory cannot be written, an address is taken.
pub const INFRASTRUCTURE: u8 = 6;
/// A second SIGINT or SIGTERM ended the command at once (128 + SIGINT, as shells count).
pub const KILLED: u8 = 130;

/// Every code with its meaning, as the help shows it.
pub const ALL: &[(u8, &str)] = &[
    (OK, "done, or the answer is yes"),
    (FINDING, "the answer is no: a finding, a rejected drop, a worker that is not well"),
    (USAGE, "the command line or the configuration is wrong, or what it names cannot be read; nothing was changed"),
    (NO_ANSWER, "nobody answered in time (no worker, no broker, no receipt); the work may still be done"),
    (TASK_FAILED, "a worker took the task and said that it failed"),
    (REFUSED, "refused for the sake of the keys or the repository"),
    (INFRASTRUCTURE, "a directory cannot be written, an address is taken, or the like"),
    (KILLED, "ended at once by a second SIGINT or SIGTERM"),
];

/// The table as text.
#[must_use]
pub fn table() -> String {
    ALL.iter().map(|(code, meaning)| format!("{code:>5}  {meaning}\n")).collect()
}
