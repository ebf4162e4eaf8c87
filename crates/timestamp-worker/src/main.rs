//! The `timestamp-worker` process.

use std::process::ExitCode;

use timestamp_worker::{WORKER, run};

fn main() -> ExitCode {
    fleet::process::main(WORKER, run)
}
