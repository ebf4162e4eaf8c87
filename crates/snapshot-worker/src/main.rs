//! The `snapshot-worker` process.

use std::process::ExitCode;

use snapshot_worker::{WORKER, run};

fn main() -> ExitCode {
    fleet::process::main(WORKER, run)
}
