//! `rugged completions`.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::error::CliError;
use crate::exit_code;

pub fn run(args: &Completions) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rugged", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|error| CliError::infrastructure(format!("writing the completion script: {error}")))?;
    Ok(exit_code::OK)
}
