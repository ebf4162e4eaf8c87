//! The `snapshot-worker` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::process::main(snapshot_worker::WORKER, snapshot_worker::run)
}
