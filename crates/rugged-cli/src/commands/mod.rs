//! One command per file.

mod add_targets;
mod completions;
mod config;
mod demo;
mod doctor;
mod events;
mod generate_keys;
mod initialize;
mod inspect;
mod man;
mod ping;
mod post;
mod processing;
mod recover;
mod reference;
mod refresh_expiry;
mod remove_targets;
mod revoke;
mod status;
mod up;
mod validate;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleet::Config;
use fleet::contract::{SNAPSHOT_QUEUE, TIMESTAMP_QUEUE, UPDATE_SNAPSHOT, UPDATE_TIMESTAMP, UpdateResult};
use serde::Serialize;
use service::telemetry;

use crate::args::{Cli, Command};
use crate::error::CliError;
use crate::output::Output;
use crate::reach::Reach;
use crate::{exit_code, settings};

/// Runs a command; the exit code when it did what it was asked.
///
/// # Errors
/// Why it did not.
pub fn run(cli: Cli) -> Result<u8, CliError> {
    let output = Output::new(cli.global.json);
    let args = match cli.command {
        Command::Demo(args) => {
            telemetry::init(if cli.global.verbose { "info" } else { "error" }, false);
            return block_on(demo::run(args, output));
        }
        Command::ExitCodes => {
            output.result(&exit_codes(), |_| exit_code::table())?;
            return Ok(exit_code::OK);
        }
        Command::Completions(args) => return completions::run(&args),
        Command::Man(args) => return man::run(&args, output),
        Command::Reference(args) => return reference::run(&args, output),
        other => other,
    };
    let config = settings::load(&cli.global)?;
    match args {
        Command::Up(_) => telemetry::init(&config.process.log_level, config.process.log_json),
        _ => settings::start_log(&cli.global, &config),
    }
    match args {
        Command::Up(args) => block_on(up::run(config, args, output)),
        Command::Post(args) => block_on(post::run(&config, args, output)),
        Command::Status(args) => block_on(status::run(&config, args, output)),
        Command::Validate(args) => block_on(validate::run(&config, args, output)),
        Command::GenerateKeys(args) => generate_keys::run(&config, args, output),
        Command::Initialize(args) => block_on(initialize::run(&config, args, output)),
        Command::AddTargets(args) => block_on(add_targets::run(&config, args, output)),
        Command::RemoveTargets(args) => block_on(remove_targets::run(&config, args, output)),
        Command::RefreshExpiry(args) => block_on(refresh_expiry::run(&config, args, output)),
        Command::PauseProcessing(args) => block_on(processing::run(&config, true, args, output)),
        Command::ResumeProcessing(args) => block_on(processing::run(&config, false, args, output)),
        Command::Ping(args) => block_on(ping::run(&config, args, output)),
        Command::Inspect(args) => block_on(inspect::run(&config, args, output)),
        Command::Events(args) => block_on(events::run(&config, args, output)),
        Command::Revoke(args) => block_on(revoke::run(&config, args, output)),
        Command::Doctor(args) => block_on(doctor::run(&config, args, output)),
        Command::Recover(args) => recover::run(&config, args, output),
        Command::Config => config::run(&config, output),
        Command::Demo(_) | Command::ExitCodes | Command::Completions(_) | Command::Man(_) | Command::Reference(_) => {
            Ok(exit_code::OK)
        }
    }
}

fn block_on<F: Future<Output = Result<u8, CliError>>>(command: F) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| CliError::infrastructure(format!("starting threads: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

#[derive(Serialize)]
struct ExitCode {
    code: u8,
    meaning: &'static str,
}

fn exit_codes() -> Vec<ExitCode> {
    exit_code::ALL.iter().map(|(code, meaning)| ExitCode { code: *code, meaning }).collect()
}

/// How long to wait for a task: `--timeout`, else `task_timeout`.
fn deadline(config: &Config, timeout: Option<u64>) -> Duration {
    timeout.map_or(config.task_timeout, |seconds| Duration::from_secs(seconds.max(1)))
}

/// What clients see after a change.
#[derive(Debug, Serialize)]
struct Visible {
    snapshot: UpdateResult,
    timestamp: UpdateResult,
}

/// Has snapshot and timestamp follow what the targets-worker did, which makes it visible.
async fn publish(reach: &mut Reach, deadline: Duration) -> Result<Visible, CliError> {
    let snapshot = reach.call(SNAPSHOT_QUEUE, UPDATE_SNAPSHOT, &(), deadline).await?;
    let timestamp = reach.call(TIMESTAMP_QUEUE, UPDATE_TIMESTAMP, &(), deadline).await?;
    Ok(Visible { snapshot, timestamp })
}

/// Runs `work` with the signing workers, and says goodbye to them whatever came of it.
async fn with_signers<T>(
    config: &Arc<Config>,
    work: impl AsyncFnOnce(&mut Reach) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let mut reach = Reach::signing(config).await?;
    let result = work(&mut reach).await;
    reach.close().await;
    result
}
