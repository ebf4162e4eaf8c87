//! `rugged status`.

mod drops;
mod report;
mod text;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::{Config, WorkerRole};
use service::clock::{Clock as _, SystemClock};
use service::exit_code::CommandExit;

use self::report::{RepositoryReport, StatusReport};
use self::workers::{NOT_ASKED, WorkerReport};
use crate::error::{CliError, describe};
use crate::fleet_connection::FleetConnection;
use crate::output::Output;
use crate::verify::{RepositoryCheck, RepositoryPaths, check_repository, is_directory, visible_roles};

/// Show workers, roles, versions, expiries and drops
///
/// The command asks every worker and, where their remote control is on, every replica. If it can read the repository and
/// the drop directory on this machine, it also verifies the repository and lists the drops that are not published.
///
/// Exit codes: 0 all workers answered and do their job and the repository verifies, 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged status
  rugged --json status | jq '.workers[].status.state'")]
pub struct StatusArgs {
    /// Seconds to wait for each worker
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub timeout: u64,
}

/// Collects and prints the status.
///
/// # Errors
/// When `broker_url` is malformed.
pub async fn run(config: &Config, args: StatusArgs, output: Output) -> Result<CommandExit, CliError> {
    let deadline = Duration::from_secs(args.timeout.max(1));
    let absent = |problem: &str| WorkerRole::ALL.map(|role| WorkerReport::absent(role, problem)).into();
    let (via, problem, workers) = match FleetConnection::to_running(config).await {
        Ok(Some(fleet)) => {
            let workers = workers::ask_all(fleet.client(), deadline).await;
            let via = fleet.via().to_owned();
            fleet.close().await;
            (Some(via), None, workers)
        }
        Ok(None) => (None, None, absent(NOT_ASKED[0])),
        // The repository and the drops can be shown all the same.
        Err(error) if error.exit_code() == CommandExit::NoAnswer => {
            let next = error.next_step().map(|next| format!("; {next}")).unwrap_or_default();
            (None, Some(format!("{}{next}", error.message())), absent(NOT_ASKED[1]))
        }
        Err(error) => return Err(error),
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let by_monitor = workers.iter().filter_map(|worker| worker.status.as_ref()).find(|status| !status.drops.is_empty());
    let drops = drops::drops(fs.as_ref(), &config.post_to_tuf_path, config.prefix_case_insensitive, by_monitor);
    let repository = repository_report(&fs, config);
    let ok = workers.iter().all(WorkerReport::is_healthy)
        && repository.as_ref().is_none_or(|repository| repository.verified);
    let report = StatusReport {
        via,
        problem,
        workers,
        repository,
        drops: drops.counts,
        waiting: drops.named,
        more: drops.more,
        ok,
    };
    output.result(&report, |report| text::text(report, SystemClock.now()))?;
    Ok(if ok { CommandExit::Success } else { CommandExit::NegativeAnswer })
}

fn repository_report(fs: &Arc<dyn Fs>, config: &Config) -> Option<RepositoryReport> {
    let paths = RepositoryPaths::of(config);
    if !is_directory(fs.as_ref(), &paths.metadata) {
        return None;
    }
    let metadata = paths.metadata.display().to_string();
    let failed = |problem: String, roles| RepositoryReport {
        metadata: metadata.clone(),
        verified: false,
        problem: Some(problem),
        roles,
    };
    Some(match check_repository(fs, &paths, SystemClock.now()) {
        Ok(RepositoryCheck::Verified(client)) => {
            RepositoryReport { metadata, verified: true, problem: None, roles: visible_roles(&client) }
        }
        Ok(RepositoryCheck::Failed(client, error)) => failed(describe(&error), visible_roles(&client)),
        Ok(RepositoryCheck::BadRoot(error)) => {
            failed(format!("invalid trusted root: {}", describe(&error)), Vec::new())
        }
        Err(error) => failed(error.message(), Vec::new()),
    })
}
