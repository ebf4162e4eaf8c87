//! The error of a stopped machine.

use std::io::{self, ErrorKind};

/// The kind of every error between a stop and the following [`SimFs::crash`](super::SimFs::crash); see [`is_power_cut`].
pub const POWER_CUT: ErrorKind = ErrorKind::HostUnreachable;

/// Whether an error says that the simulated machine has stopped.
#[must_use]
pub fn is_power_cut(error: &io::Error) -> bool {
    error.kind() == POWER_CUT
}
