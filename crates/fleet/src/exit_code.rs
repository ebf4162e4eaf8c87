//! What the exit code of a worker says.

/// The worker ended because it was asked to, after finishing what it was doing.
pub const OK: u8 = 0;
/// Something failed that no other code names.
pub const FAILURE: u8 = 1;
/// The command line or the configuration is wrong; starting again changes nothing.
pub const USAGE: u8 = 2;
/// The worker refuses to start for the sake of the keys or the repository (another role's key can be read, a key is
/// readable by its group, too few keys of the root): an administrator has to act.
pub const REFUSED: u8 = 3;
/// Something the worker stands on failed for good (the health address is taken, a directory cannot be written);
/// starting again may help.
pub const INFRASTRUCTURE: u8 = 4;
/// `healthcheck`: the worker answered that it is not live or not ready, or did not answer.
pub const UNHEALTHY: u8 = 5;
/// A bug ended the worker (what Rust exits with after a panic); the panic is in the log.
pub const PANIC: u8 = 101;
/// A second SIGINT or SIGTERM ended the worker at once (128 + SIGINT, as shells count).
pub const KILLED: u8 = 130;
