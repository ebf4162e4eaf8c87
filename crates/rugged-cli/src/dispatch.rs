//! Runs the command that the command line names.

use std::future::Future;
use std::time::Duration;

use clap::CommandFactory as _;
use service::telemetry;

use crate::cli::{Cli, Command};
use crate::commands::{
    add_targets, completions, config, demo, doctor, events, exit_codes, generate_keys, initialize, inspect, man,
    pause_processing, ping, post, recover, reference, refresh_expiry, remove_targets, resume_processing, revoke,
    status, up, validate,
};
use crate::error::CliError;
use crate::output::Output;
use crate::settings;
use service::exit_code::CommandExit;

/// Runs a command and returns its exit code.
///
/// # Errors
/// When the command failed: [`CliError`] has the exit code and the cause.
pub fn run(cli: Cli) -> Result<CommandExit, CliError> {
    let output = Output::new(cli.global.json);
    let command = match cli.command {
        // The demo has a configuration of its own.
        Command::Demo(args) => {
            telemetry::init(if cli.global.verbose { "info" } else { "error" }, false);
            return block_on(demo::run(args, output));
        }
        Command::ExitCodes(_) => return exit_codes::run(output),
        Command::Completions(args) => return completions::run(&args, Cli::command()),
        Command::Man(args) => return man::run(&args, Cli::command(), output),
        Command::Reference(args) => return reference::run(&args, Cli::command(), output),
        configured => configured,
    };
    let config = settings::load(&cli.global)?;
    match command {
        Command::Up(_) => telemetry::init(&config.process.log_level, config.process.log_json),
        _ => settings::start_log(&cli.global, &config),
    }
    match command {
        Command::Up(args) => block_on(up::run(config, args, output)),
        Command::Post(args) => block_on(post::run(&config, args, output)),
        Command::Status(args) => block_on(status::run(&config, args, output)),
        Command::Validate(args) => block_on(validate::run(&config, args, output)),
        Command::GenerateKeys(args) => generate_keys::run(&config, args, output),
        Command::Initialize(args) => block_on(initialize::run(&config, args, output)),
        Command::AddTargets(args) => block_on(add_targets::run(&config, args, output)),
        Command::RemoveTargets(args) => block_on(remove_targets::run(&config, args, output)),
        Command::RefreshExpiry(args) => block_on(refresh_expiry::run(&config, args, output)),
        Command::PauseProcessing(args) => block_on(pause_processing::run(&config, args, output)),
        Command::ResumeProcessing(args) => block_on(resume_processing::run(&config, args, output)),
        Command::Ping(args) => block_on(ping::run(&config, args, output)),
        Command::Inspect(args) => block_on(inspect::run(&config, args, output)),
        Command::Events(args) => block_on(events::run(&config, args, output)),
        Command::Revoke(args) => block_on(revoke::run(&config, args, output)),
        Command::Doctor(args) => block_on(doctor::run(&config, args, output)),
        Command::Recover(args) => recover::run(&config, args, output),
        Command::Config(_) => config::run(&config, output),
        // These ran above, without a configuration.
        Command::Demo(_)
        | Command::ExitCodes(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Reference(_) => Ok(CommandExit::Success),
    }
}

fn block_on<F: Future<Output = Result<CommandExit, CliError>>>(command: F) -> Result<CommandExit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| CliError::local_failure(error).during("cannot start threads"))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
