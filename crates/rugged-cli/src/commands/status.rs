//! `rugged status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::contract::{STATUS, WorkerStatus};
use fleet::{Config, WorkerRole};
use futures_util::future::join_all;
use monitor_worker::drop_dir;
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use crate::error::{CliError, describe};
use crate::fleet_connection::{FleetConnection, explain_call_error};
use crate::output::{Output, one_line, table};
use crate::verify::{RepositoryCheck, RepositoryPaths, VisibleRole, check_repository, is_directory, visible_roles};
use service::exit_code::CommandExit;

/// Show workers, roles, versions, expiries and drops
///
/// The command asks every worker. If it can read the repository and the drop directory on this machine, it also
/// verifies the repository and counts the drops.
///
/// Exit codes: 0 all workers answered and are healthy and the repository verifies, 1 otherwise.
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

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct StatusReport {
    /// The broker or the socket; absent when no fleet is running.
    via: Option<String>,
    workers: Vec<WorkerReport>,
    /// The repository as clients see it; absent when this machine cannot read it.
    repository: Option<RepositoryReport>,
    /// Number of drops by stage, from the drop directory if this machine can read it, else from the monitor-worker.
    drops: BTreeMap<String, u64>,
    /// Whether every worker answered and is healthy, and the repository, if readable, verifies.
    ok: bool,
}

/// A worker: its answer, or the reason why there is none.
#[derive(Serialize)]
struct WorkerReport {
    worker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WorkerStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The repository: its roles, and the reason if it does not verify.
#[derive(Serialize)]
struct RepositoryReport {
    metadata: String,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    roles: Vec<VisibleRole>,
}

/// Collects and prints the status.
///
/// # Errors
/// When `broker_url` is malformed.
pub async fn run(config: &Config, args: StatusArgs, output: Output) -> Result<CommandExit, CliError> {
    let deadline = Duration::from_secs(args.timeout.max(1));
    let (via, workers) = match FleetConnection::to_running(config).await? {
        Some(fleet) => {
            let workers = join_all(WorkerRole::ALL.map(|role| ask(&fleet, role, deadline))).await;
            let via = fleet.via().to_owned();
            fleet.close().await;
            (Some(via), workers)
        }
        None => {
            let absent = |role: WorkerRole| WorkerReport {
                worker: role.worker_name().into(),
                status: None,
                problem: Some("not running".into()),
            };
            (None, WorkerRole::ALL.map(absent).into())
        }
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // The drop directory is newer than the monitor's answer, but only the monitor knows of held drops.
    let by_monitor = workers.iter().filter_map(|worker| worker.status.as_ref()).find(|status| !status.drops.is_empty());
    let mut drops = by_monitor.map(|status| status.drops.clone()).unwrap_or_default();
    drops.extend(drops_on_disk(fs.as_ref(), config));
    let repository = repository_report(&fs, config);
    let healthy = |worker: &WorkerReport| worker.status.as_ref().is_some_and(|status| status.state != "alarm");
    let ok = workers.iter().all(healthy) && repository.as_ref().is_none_or(|repository| repository.verified);
    let report = StatusReport { via, workers, repository, drops, ok };
    output.result(&report, text)?;
    Ok(if ok { CommandExit::Success } else { CommandExit::NegativeAnswer })
}

async fn ask(fleet: &FleetConnection, role: WorkerRole, deadline: Duration) -> WorkerReport {
    let answer = match FleetConnection::ask(fleet.client(), role.queue(), STATUS, deadline).await {
        Ok(value) => serde_json::from_value(value).map_err(|error| {
            CliError::task_failed(error).during("its answer has a form that this version cannot read")
        }),
        Err(error) => Err(explain_call_error(role.worker_name(), STATUS, error, deadline)),
    };
    let worker = role.worker_name().to_owned();
    match answer {
        Ok(status) => WorkerReport { worker, status: Some(status), problem: None },
        Err(error) => WorkerReport { worker, status: None, problem: Some(error.message()) },
    }
}

/// The drops in the drop directory by stage; empty when it cannot be read.
fn drops_on_disk(fs: &dyn Fs, config: &Config) -> BTreeMap<String, u64> {
    let Ok(listing) = drop_dir::list(fs, &config.post_to_tuf_path, config.prefix_case_insensitive) else {
        return BTreeMap::new();
    };
    let counts = [
        ("ready", listing.ready.len() as u64),
        ("processing", listing.processing.len() as u64),
        ("rejected", listing.rejected),
    ];
    counts.map(|(stage, number)| (stage.to_owned(), number)).into()
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

fn text(report: &StatusReport) -> String {
    let mut out = match &report.via {
        Some(via) => format!("connected through {}\n\n", one_line(via)),
        None => "no fleet is running on memory://; start one with `rugged up`\n\n".to_owned(),
    };
    let head = ["WORKER", "STATE", "ROLE VERSION", "EXPIRES", "NEXT RENEWAL", "LAST WORK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut details = String::new();
    for worker in &report.workers {
        let Some(status) = &worker.status else {
            rows.push(vec![worker.worker.clone(), "-".to_owned()]);
            if let Some(problem) = worker.problem.as_deref().filter(|problem| *problem != "not running") {
                details.push_str(&format!("{}: {}\n", worker.worker, one_line(problem)));
            }
            continue;
        };
        let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        rows.push(vec![
            worker.worker.clone(),
            one_line(&status.state),
            status.role_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            or_dash(status.expires.as_deref()),
            or_dash(status.next_renewal.as_deref()),
            or_dash(status.last_work.as_deref()),
        ]);
        if let Some(detail) = &status.detail {
            details.push_str(&format!("{}: {}\n", worker.worker, one_line(detail)));
        }
        for notice in &status.notices {
            details.push_str(&format!("{}: {}\n", worker.worker, one_line(notice)));
        }
        if let Some(processing) = status.processing.as_ref().filter(|processing| processing.paused) {
            let reason =
                processing.reason.as_deref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
            details.push_str(&format!("{}: intake of drops paused{reason}\n", worker.worker));
        }
    }
    out.push_str(&table(&rows));
    out.push_str(&details);
    match &report.repository {
        None => out.push_str("\nrepository  not readable on this machine\n"),
        Some(repository) => {
            let roles = repository.roles.iter().map(|role| format!("{} {}", role.role, role.version));
            let roles = roles.collect::<Vec<_>>().join(", ");
            let verdict = match &repository.problem {
                None => "verified".to_owned(),
                Some(problem) => format!("DOES NOT VERIFY: {}", one_line(problem)),
            };
            out.push_str(&format!("\nrepository  {} ({verdict})\n", if roles.is_empty() { "-" } else { &roles }));
        }
    }
    let drops: Vec<String> = report.drops.iter().map(|(stage, number)| format!("{stage} {number}")).collect();
    out.push_str(&format!(
        "drops       {}\n",
        if drops.is_empty() { "not readable on this machine".into() } else { drops.join(", ") }
    ));
    out
}
