//! `rugged doctor`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::preflight::{self, FindingScope, FindingSeverity, PreflightFinding};
use fleet::{Config, WorkerRole};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use crate::error::CliError;
use crate::output::{Output, count, one_line};
use crate::role_arguments::worker_role;
use service::exit_code::CommandExit;

/// Check this machine: mounts, permissions, space, keys, floors, clock, broker
///
/// The checks create, link, rename and remove temporary files in each role's directories. Findings name their remedy.
/// Each worker runs the same checks when it starts. Where a role's state is on this machine, the command also compares the
/// repository with its floor.
///
/// With --role, run the command as that worker's user, with its configuration and mounts. It then also checks that
/// the worker cannot reach the keys and directories of other roles, and that others can read the files that it creates.
///
/// Without --role, run it where the directories of all workers are mounted. It then also names the clients that the
/// repository's layout and key ids lock out, or those that the configured ones would.
///
/// Exit codes: 0 no finding that needs action, 1 otherwise.
///
/// --json prints {ok, roles, findings: [{severity, check, role, subject, message, advice}]}.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged doctor
  rugged doctor --role targets")]
pub struct DoctorArgs {
    /// Check one worker only
    #[arg(long, value_name = "ROLE", value_parser = worker_role())]
    pub role: Option<WorkerRole>,
    /// Seconds to wait for the broker
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub timeout: u64,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct DoctorReport {
    ok: bool,
    roles: Vec<WorkerRole>,
    findings: Vec<PreflightFinding>,
}

/// Runs the checks of one worker, or of all.
///
/// # Errors
/// When `broker_url` is malformed, or the checks end early.
pub async fn run(config: &Arc<Config>, args: DoctorArgs, output: Output) -> Result<CommandExit, CliError> {
    let roles: Vec<WorkerRole> = match args.role {
        Some(role) => vec![role],
        None => WorkerRole::ALL.into(),
    };
    // With one role the command stands in for its worker; with all it is the administrator, who can read every key.
    let alone = roles.len() == 1;
    let deadline = Duration::from_secs(args.timeout.max(1));
    let checking = {
        let (config, roles) = (Arc::clone(config), roles.clone());
        // A mount may hang.
        tokio::task::spawn_blocking(move || {
            let fs: Arc<dyn Fs> = Arc::new(RealFs);
            let now = SystemClock.now();
            let of_role = |role: &WorkerRole| {
                let mut findings = preflight::for_role(&fs, &config, *role, now, alone);
                findings.extend(preflight::floor(&fs, &config, *role, now));
                findings
            };
            roles.iter().flat_map(of_role).collect::<Vec<_>>()
        })
    };
    let mut findings =
        checking.await.map_err(|error| CliError::local_failure(error).during("the checks ended early"))?;
    if let ([role], true) = (roles.as_slice(), alone) {
        findings.extend(preflight::broker(config, *role, deadline).await);
    } else if !config.process.broker.is_in_memory() {
        // The administrator's user may have more rights than a worker's, so only the connection itself is checked.
        let broker =
            celery_runtime::broker::connect(&config.process.broker.url, config.connect_options("rugged".into()))
                .await
                .map_err(|error| CliError::invalid_input(error).during("invalid broker_url"))?;
        findings.extend(preflight::reachable(broker.as_ref(), config, FindingScope::AllRoles, deadline).await);
        let _ = tokio::time::timeout(deadline, broker.close()).await;
    }
    if !alone {
        findings.extend(preflight::clients(&RealFs, config));
    }
    let ok = findings.iter().all(|finding| finding.severity == FindingSeverity::Info);
    let report = DoctorReport { ok, roles, findings };
    output.result(&report, text)?;
    Ok(if ok { CommandExit::Success } else { CommandExit::NegativeAnswer })
}

fn text(report: &DoctorReport) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        // Of all roles: `info all clients` would read as if it were about all clients.
        match finding.role {
            FindingScope::AllRoles => out.push_str(&format!("{} {}: ", finding.severity, finding.check)),
            FindingScope::Role(role) => out.push_str(&format!("{} {role} {}: ", finding.severity, finding.check)),
        }
        out.push_str(&one_line(&format!("{}: {}", finding.subject, finding.message)));
        out.push('\n');
        if !finding.advice.is_empty() {
            out.push_str(&format!("     {}\n", one_line(&finding.advice)));
        }
    }
    let serious = report.findings.iter().filter(|finding| finding.severity != FindingSeverity::Info).count();
    if report.ok {
        out.push_str(&format!(
            "{}: all checks passed\n",
            report.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ));
    } else {
        let verb = if serious == 1 { "needs" } else { "need" };
        out.push_str(&format!("{} {verb} action\n", count(serious as u64, "finding")));
    }
    out
}
