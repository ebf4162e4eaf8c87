//! The checks before a worker starts, which `rugged doctor` runs too: mounts, modes, space, whether files can be written,
//! linked, renamed and deleted where the role needs it, whether others can read them, keys, clock, floor, broker.
//!
//! Only a danger to keys refuses a start. A fault that may heal (a mount that is late, a full disk) is a warning: the
//! worker waits.

mod broker;
mod checks;
mod clients;
mod existing;
mod finding;
mod floor;
mod isolation;
mod mounts;
mod probe;
mod readable;
mod signing_keys;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests;

pub use broker::{broker, reachable};
pub use checks::{LOW_BYTES, LOW_INODES, at_start, for_role};
pub use clients::clients;
pub use finding::{FindingScope, FindingSeverity, PreflightFinding};
pub use floor::floor;
pub use isolation::one_key_per_process;
pub use mounts::{Mount, Mounts};
