//! `rugged add-targets`.

use std::sync::Arc;

use clap::Args;
use fleet::Config;
use fleet::contract::{ADD_TARGETS, AddTargets, AddTargetsResult, TARGETS_QUEUE};
use serde::Serialize;

use super::signing_chain::{PublishedVersions, publish, task_deadline, with_signing_workers};
use crate::error::CliError;
use crate::output::{Output, count};
use service::exit_code::CommandExit;

/// Add loose files from the inbound directory to the repository
///
/// The files must already be in inbound_targets_path. To publish a whole release as one drop, use `rugged post`.
///
/// The command waits until clients can verify the targets. With broker_url memory:// and without a running `rugged up`,
/// it hosts the signing workers itself.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged add-targets                       # all loose files of the inbound directory
  rugged add-targets app/1.2/app.tar.gz    # one file, by its path below the inbound directory")]
pub struct AddTargetsArgs {
    /// Paths below inbound_targets_path [default: all loose files]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Seconds to wait for each role [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct AddTargetsReport {
    targets: AddTargetsResult,
    #[serde(flatten)]
    published: PublishedVersions,
}

/// Adds targets and makes them visible.
///
/// # Errors
/// When a worker does not answer or its task fails.
pub async fn run(config: &Arc<Config>, args: AddTargetsArgs, output: Output) -> Result<CommandExit, CliError> {
    let deadline = task_deadline(config, args.timeout);
    let arguments = AddTargets { batch: None, targets: Some(args.targets).filter(|targets| !targets.is_empty()) };
    let report = with_signing_workers(config, async |fleet| {
        let targets: AddTargetsResult = fleet.call(TARGETS_QUEUE, ADD_TARGETS, &arguments, deadline).await?;
        let published = publish(fleet, targets.record, deadline).await?;
        Ok(AddTargetsReport { targets, published })
    })
    .await?;
    output.result(&report, |report| {
        let added = count(report.targets.targets_added, "target");
        let record = report.targets.record.map(|record| format!(" in record {record}")).unwrap_or_default();
        let PublishedVersions { snapshot, timestamp } = &report.published;
        format!("added {added}{record}; visible since snapshot {}, timestamp {}\n", snapshot.version, timestamp.version)
    })?;
    Ok(CommandExit::Success)
}
