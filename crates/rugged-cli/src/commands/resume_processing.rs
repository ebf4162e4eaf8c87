//! `rugged resume-processing`.

use clap::Args;
use fleet::Config;

use super::processing_switch::{self, SwitchChange};
use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// Resume the intake of drops
///
/// The command undoes `rugged pause-processing`. It needs an operator's broker user.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged pause-processing --reason 'moving the repository'
  rugged resume-processing")]
pub struct ResumeProcessingArgs {
    /// Reason to record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Seconds to wait for the monitor-worker [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// Resumes the intake of drops.
///
/// # Errors
/// When the monitor-worker does not answer or refuses, or its state cannot be written.
pub async fn run(config: &Config, args: ResumeProcessingArgs, output: Output) -> Result<CommandExit, CliError> {
    let change = SwitchChange { pause: false, reason: args.reason, timeout: args.timeout };
    processing_switch::set(config, change, output).await
}
