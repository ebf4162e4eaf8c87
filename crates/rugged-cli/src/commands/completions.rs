//! `rugged completions`.

use std::io::Write as _;

use clap::{Args, Command};

use crate::error::CliError;
use service::exit_code::CommandExit;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged completions bash > /etc/bash_completion.d/rugged
  rugged completions zsh > ~/.zfunc/_rugged
  rugged completions fish > ~/.config/fish/completions/rugged.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Prints the completion script of `cli`.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs, mut cli: Command) -> Result<CommandExit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "rugged", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|error| CliError::local_failure(error).during("cannot write the completion script"))?;
    Ok(CommandExit::Success)
}
