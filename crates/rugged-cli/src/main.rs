//! The `rugged` command: operators and pipelines type it.
//!
//! [`cli`] defines the global options and lists the commands, [`dispatch`] runs one of them. [`commands`] has one file
//! or directory per command, each with its arguments. [`fleet_connection`] finds the fleet (over a broker, through the
//! socket of a running `rugged up`, or hosted by the command itself), [`verify`] holds the two TUF clients,
//! [`producer`] the pipeline's side of a drop.

mod cli;
mod commands;
mod dispatch;
mod error;
mod fleet_connection;
mod output;
mod percent;
mod producer;
mod relative_time;
mod role_arguments;
mod serve;
mod settings;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::error::CliError;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        // Help and versions come this way too.
        Err(said) if !said.use_stderr() || !std::env::args_os().any(|argument| argument == "--json") => said.exit(),
        Err(error) => return failed(&CliError::from(error), Output::new(true)),
    };
    let output = Output::new(cli.global.json);
    match dispatch::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => failed(&error, output),
    }
}

fn failed(error: &CliError, output: Output) -> ExitCode {
    output.error(error);
    error.exit_code().into()
}
