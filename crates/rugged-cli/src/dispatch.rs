//! Runs the command that the command line names.

use std::future::Future;
use std::time::Duration;

use clap::CommandFactory as _;
use service::telemetry;

use crate::cli::{Cli, RuggedCommand};
use crate::commands::{
    add_targets, completions, config, demo, doctor, download, events, exit_codes, generate_keys, initialize, inspect,
    man, pause_processing, ping, post, recover, reference, refresh_expiry, remove_targets, resume_processing, revoke,
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
        RuggedCommand::Demo(args) => {
            telemetry::init(if cli.global.verbose { "info" } else { "error" }, false);
            return block_on(demo::run(args, output));
        }
        // It is for machines without a fleet, and so without its configuration.
        RuggedCommand::Download(args) => {
            telemetry::init(if cli.global.verbose { "info" } else { "warn" }, false);
            return download::run(args, output);
        }
        RuggedCommand::ExitCodes(_) => return exit_codes::run(output),
        RuggedCommand::Completions(args) => return completions::run(&args, Cli::command()),
        RuggedCommand::Man(args) => return man::run(&args, Cli::command(), output),
        RuggedCommand::Reference(args) => return reference::run(&args, Cli::command(), output),
        configured => configured,
    };
    let config = settings::load(&cli.global)?;
    match command {
        RuggedCommand::Up(_) => telemetry::init(&config.process.log_level, config.process.log_json),
        _ => settings::start_log(&cli.global, &config),
    }
    match command {
        RuggedCommand::Up(args) => block_on(up::run(config, args, output)),
        RuggedCommand::Post(args) => block_on(post::run(&config, args, output)),
        RuggedCommand::Status(args) => block_on(status::run(&config, args, output)),
        RuggedCommand::Validate(args) => block_on(validate::run(&config, args, output)),
        RuggedCommand::GenerateKeys(args) => generate_keys::run(&config, args, output),
        RuggedCommand::Initialize(args) => block_on(initialize::run(&config, args, output)),
        RuggedCommand::AddTargets(args) => block_on(add_targets::run(&config, args, output)),
        RuggedCommand::RemoveTargets(args) => block_on(remove_targets::run(&config, args, output)),
        RuggedCommand::RefreshExpiry(args) => block_on(refresh_expiry::run(&config, args, output)),
        RuggedCommand::PauseProcessing(args) => block_on(pause_processing::run(&config, args, output)),
        RuggedCommand::ResumeProcessing(args) => block_on(resume_processing::run(&config, args, output)),
        RuggedCommand::Ping(args) => block_on(ping::run(&config, args, output)),
        RuggedCommand::Inspect(args) => block_on(inspect::run(&config, args, output)),
        RuggedCommand::Events(args) => block_on(events::run(&config, args, output)),
        RuggedCommand::Revoke(args) => block_on(revoke::run(&config, args, output)),
        RuggedCommand::Doctor(args) => block_on(doctor::run(&config, args, output)),
        RuggedCommand::Recover(args) => recover::run(&config, args, output),
        RuggedCommand::Config(_) => config::run(&config, output),
        // These ran above, without a configuration.
        RuggedCommand::Demo(_)
        | RuggedCommand::Download(_)
        | RuggedCommand::ExitCodes(_)
        | RuggedCommand::Completions(_)
        | RuggedCommand::Man(_)
        | RuggedCommand::Reference(_) => Ok(CommandExit::Success),
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
