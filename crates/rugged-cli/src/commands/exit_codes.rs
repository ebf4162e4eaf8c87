//! `rugged exit-codes`.

use clap::Args;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// List the exit codes
#[derive(Debug, Args)]
#[command(after_help = CommandExit::table())]
pub struct ExitCodesArgs {}

/// An exit code, as `--json` prints it.
#[derive(Serialize)]
struct ExitCodeEntry {
    code: u8,
    meaning: &'static str,
}

/// Prints the exit codes.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(output: Output) -> Result<CommandExit, CliError> {
    let entries = CommandExit::ALL.map(|exit| ExitCodeEntry { code: exit.code(), meaning: exit.meaning() });
    output.result(&entries, |_| CommandExit::table())?;
    Ok(CommandExit::Success)
}
