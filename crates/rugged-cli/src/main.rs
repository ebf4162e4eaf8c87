//! The `rugged` command: what operators and pipelines type.
//!
//! [`args`] defines the command line, [`commands`] does one thing per file, [`reach`] finds the fleet (over a broker, through
//! the socket of a running `rugged up`, or hosted by the command itself), [`verify`] holds the two TUF clients, [`producer`]
//! the pipeline's side of a drop.

mod args;
mod commands;
mod error;
mod exit_code;
mod output;
mod producer;
mod reach;
mod serve;
mod settings;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::show_error(&error);
            ExitCode::from(error.code)
        }
    }
}
