//! Restart in place.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use crate::error::ProcessError;

/// Replaces this process by a new run of the same program with the same arguments and the same process id. Returns only
/// if that fails.
pub(super) fn restart_in_place() -> ProcessError {
    // A program that was upgraded meanwhile has another file under its name, or none.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    ProcessError::Io { action: "restarting in place".into(), source: command.args(arguments).exec() }
}
