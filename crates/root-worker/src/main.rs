//! The `root-worker` process: the ceremony binary. It takes no task from the broker, and ends when its command is done.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
