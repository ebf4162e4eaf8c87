//! The `targets-worker` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::process::main(targets_worker::WORKER, targets_worker::run)
}
