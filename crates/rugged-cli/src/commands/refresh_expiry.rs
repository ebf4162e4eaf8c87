//! `rugged refresh-expiry`.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use fleet::contract::{REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult};
use fleet::{Config, WorkerRole};
use serde::Serialize;

use super::signing_chain::{task_deadline, with_signing_workers};
use crate::error::CliError;
use crate::output::{Output, count};
use service::exit_code::CommandExit;

/// Renew metadata that is near its expiry
///
/// The roles renew their metadata on their own, with or without the broker. This command makes them check immediately.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged refresh-expiry
  rugged refresh-expiry --force")]
pub struct RefreshExpiryArgs {
    /// Renew all metadata, even if it is far from its expiry; needs an operator's broker user
    #[arg(long)]
    pub force: bool,
    /// Seconds to wait for each role [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// The result, as `--json` prints it.
#[derive(Default, Serialize)]
struct RefreshExpiryReport {
    renewed: BTreeMap<String, u64>,
    bins_renewed: u64,
}

/// Makes targets, snapshot and timestamp check their expiry, in this order.
///
/// # Errors
/// When a worker does not answer or its task fails.
pub async fn run(config: &Arc<Config>, args: RefreshExpiryArgs, output: Output) -> Result<CommandExit, CliError> {
    let deadline = task_deadline(config, args.timeout);
    let report = with_signing_workers(config, async |fleet| {
        let mut report = RefreshExpiryReport::default();
        // Each role signs the new version of the role before it.
        for queue in WorkerRole::SIGNING.map(WorkerRole::queue) {
            let arguments = RefreshExpiry { force: args.force };
            let result: RefreshExpiryResult = if args.force {
                fleet.call_as_operator(queue, REFRESH_EXPIRY, &arguments, deadline).await?
            } else {
                fleet.call(queue, REFRESH_EXPIRY, &arguments, deadline).await?
            };
            report.renewed.extend(result.renewed);
            report.bins_renewed += result.bins_renewed;
        }
        Ok(report)
    })
    .await?;
    output.result(&report, |report| {
        let mut parts: Vec<String> = report.renewed.iter().map(|(role, version)| format!("{role} {version}")).collect();
        if report.bins_renewed > 0 {
            parts.push(count(report.bins_renewed, "bin"));
        }
        if parts.is_empty() {
            "no metadata is near its expiry; renew it anyway with --force\n".to_owned()
        } else {
            format!("renewed {}\n", parts.join(", "))
        }
    })?;
    Ok(CommandExit::Success)
}
