//! `rugged pause-processing`.

use clap::Args;
use fleet::Config;

use super::processing_switch::{self, SwitchChange};
use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// Pause the intake of drops
///
/// The fleet finishes the drops that it has taken in and continues to renew metadata. New drops wait until `rugged
/// resume-processing`.
///
/// The pause survives a restart of the monitor-worker. The command needs an operator's broker user. With broker_url
/// memory:// and without a running `rugged up`, it records the pause for the next start, and says so; with
/// `environment: production` it fails instead.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged pause-processing --reason 'moving the repository'
  rugged resume-processing")]
pub struct PauseProcessingArgs {
    /// Reason that `rugged status` shows
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Seconds to wait for the monitor-worker [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// Pauses the intake of drops.
///
/// # Errors
/// When the monitor-worker does not answer or refuses, or its state cannot be written.
pub async fn run(config: &Config, args: PauseProcessingArgs, output: Output) -> Result<CommandExit, CliError> {
    let change = SwitchChange { pause: true, reason: args.reason, timeout: args.timeout };
    processing_switch::set(config, change, output).await
}
