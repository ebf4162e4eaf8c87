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
mod role_arguments;
mod serve;
mod settings;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match dispatch::run(cli::Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::show_error(&error);
            error.exit_code().into()
        }
    }
}
