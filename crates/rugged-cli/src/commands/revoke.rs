//! `rugged revoke`.

use celery_runtime::client::Control;
use clap::Args;
use fleet::Config;

use super::remote_control::print_answers;
use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// Revoke tasks by id
///
/// A worker drops a revoked task instead of running it. It remembers the ids for three hours. The fleet's workers
/// accept this only with `remote_control: full`.
///
/// Exit codes: 0 at least one worker answered and none refused, 3 no worker answered, 4 a worker refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged revoke 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de
  rugged revoke --terminate 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de")]
pub struct RevokeArgs {
    /// Task ids
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Also terminate the tasks that are running
    #[arg(long)]
    pub terminate: bool,
    /// Node name of a worker to notify; may be repeated [default: all workers]
    #[arg(long = "node", value_name = "NAME@HOST")]
    pub nodes: Vec<String>,
    /// Seconds to wait for answers
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub timeout: u64,
}

/// Revokes tasks on the workers and prints their answers.
///
/// # Errors
/// When no worker answers.
pub async fn run(config: &Config, args: RevokeArgs, output: Output) -> Result<CommandExit, CliError> {
    print_answers(config, args.nodes, args.timeout, output, async |control: Control| {
        control.revoke(&args.ids, args.terminate).await
    })
    .await
}
