//! The `targets-worker` process.

use std::process::ExitCode;

use targets_worker::{WORKER, run};

fn main() -> ExitCode {
    fleet::process::main(WORKER, run)
}
