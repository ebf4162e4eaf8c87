//! The command line of a worker.

use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::worker::Program;
use crate::exit_code::WorkerExit;

#[derive(Debug, Parser)]
pub(super) struct WorkerArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Set one configuration key; overrides the file and the environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub(super) set: Vec<String>,
    #[command(subcommand)]
    pub(super) command: Option<WorkerCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum WorkerCommand {
    /// Ask the worker that runs with this configuration whether it is live; for a container's health check
    Healthcheck {
        /// Ask whether the worker is ready instead
        #[arg(long)]
        ready: bool,
    },
}

impl WorkerArguments {
    /// The arguments of this process. Ends the process for `--help`, `--version` and an invalid command line.
    pub(super) fn of_process(program: &Program) -> Self {
        let table = program.settings;
        let file = format!(
            "Configuration file [default: {}, else {} if it exists]",
            table.file_variable(),
            table.default_file
        );
        let command = Self::command()
            .name(program.name)
            .about(program.about)
            .version(program.version)
            .mut_arg("config", |argument| argument.help(file))
            .after_help(format!("Exit codes:\n{}", WorkerExit::table()));
        match Self::from_arg_matches(&command.get_matches()) {
            Ok(arguments) => arguments,
            Err(error) => error.exit(),
        }
    }
}
