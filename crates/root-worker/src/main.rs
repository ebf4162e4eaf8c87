//! The `root-worker` process: the ceremony binary. It takes nothing from the broker and ends when it is done.

mod args;

use std::process::ExitCode;

fn main() -> ExitCode {
    args::main()
}
