//! The `monitor-worker` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::process::main(monitor_worker::WORKER, monitor_worker::run)
}
