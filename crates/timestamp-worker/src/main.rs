//! The `timestamp-worker` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::process::main(timestamp_worker::WORKER, timestamp_worker::run)
}
