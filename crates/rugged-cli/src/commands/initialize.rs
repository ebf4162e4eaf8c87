//! `rugged initialize`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::contract::{REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult};
use fleet::{Config, WorkerRole};
use root_worker::{CeremonyError, Initialized};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use super::signing_chain::{task_deadline, with_signing_workers};
use crate::error::CliError;
use crate::fleet_connection::FleetConnection;
use crate::output::{Output, note};
use crate::verify::{RepositoryCheck, RepositoryPaths, VisibleRole, check_repository, visible_roles};
use service::exit_code::CommandExit;

/// Create the first root and wait for the first version of every role
///
/// The command signs 1.root.json with the root keys, writes it to the repository and pins a copy as trusted_root. Run
/// it once, on the machine that has the root keys. It refuses a repository that already has a root.
///
/// With broker_url memory:// and without a running `rugged up`, the command hosts the signing workers until the
/// repository verifies.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged generate-keys && rugged initialize
  rugged initialize --no-wait")]
pub struct InitializeArgs {
    /// Do not wait for the roles
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds to wait for each role [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct InitializeReport {
    root_version: u64,
    root_path: String,
    pinned_path: String,
    expires: String,
    keys: Vec<RoleKeysReport>,
    /// The roles that clients see; empty with `--no-wait`.
    visible: Vec<VisibleRole>,
}

/// The keys of a role in the new root.
#[derive(Serialize)]
struct RoleKeysReport {
    role: String,
    threshold: u64,
    keyids: Vec<String>,
}

/// Creates the root and waits for the roles.
///
/// # Errors
/// When a root exists, keys are missing, a file cannot be written, or a worker does not answer.
pub async fn run(config: &Arc<Config>, args: InitializeArgs, output: Output) -> Result<CommandExit, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let made = root_worker::initialize(&fs, config, SystemClock.now()).map_err(|error| {
        let exists = matches!(error, CeremonyError::Exists(_));
        let error = CliError::from(error);
        if exists { error.hint("this repository already has a root; `rugged status` shows its version") } else { error }
    })?;
    let root_path = made.root_path.display().to_string();
    let visible = if args.no_wait {
        Vec::new()
    } else {
        let deadline = task_deadline(config, args.timeout);
        with_signing_workers(config, async |fleet| sign_first_versions(fleet, &fs, config, deadline).await)
            .await
            .inspect_err(|_| note(&format!("{root_path} is written and pinned; the roles have not signed yet")))?
    };
    output.result(&report(made, visible), text)?;
    Ok(CommandExit::Success)
}

/// Makes every role sign its first version, and verifies the result as a client.
///
/// # Errors
/// When a worker does not answer, or the repository does not verify.
pub async fn sign_first_versions(
    fleet: &mut FleetConnection,
    fs: &Arc<dyn Fs>,
    config: &Config,
    deadline: Duration,
) -> Result<Vec<VisibleRole>, CliError> {
    let arguments = RefreshExpiry { force: false };
    for queue in WorkerRole::SIGNING.map(WorkerRole::queue) {
        let _: RefreshExpiryResult = fleet.call(queue, REFRESH_EXPIRY, &arguments, deadline).await?;
    }
    match check_repository(fs, &RepositoryPaths::of(config), SystemClock.now())? {
        RepositoryCheck::Verified(client) => Ok(visible_roles(&client)),
        RepositoryCheck::Failed(_, error) | RepositoryCheck::BadRoot(error) => Err(CliError::negative_answer(error)
            .during("the new repository does not verify")
            .hint("run `rugged status` to see the state of each role")),
    }
}

fn report(made: Initialized, visible: Vec<VisibleRole>) -> InitializeReport {
    InitializeReport {
        root_version: made.root_version,
        root_path: made.root_path.display().to_string(),
        pinned_path: made.pinned_path.display().to_string(),
        expires: made.expires.to_string(),
        keys: made
            .roles
            .into_iter()
            .map(|role| RoleKeysReport { role: role.role, threshold: role.threshold, keyids: role.keyids })
            .collect(),
        visible,
    }
}

fn text(report: &InitializeReport) -> String {
    let mut out = format!(
        "root {} written to {} and pinned as {}, expires {}\n",
        report.root_version, report.root_path, report.pinned_path, report.expires
    );
    for role in &report.visible {
        let expires = role.expires.as_deref().unwrap_or("-");
        out.push_str(&format!("{} {} signed, expires {expires}\n", role.role, role.version));
    }
    if report.visible.is_empty() {
        out.push_str("each role signs its version 1 when its worker reads the root\n");
    }
    out
}
