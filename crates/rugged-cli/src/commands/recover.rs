//! `rugged recover`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::recover::{self, FloorStanding, worker_role};
use fleet::signing::{SigningError, SigningErrorKind};
use fleet::{Config, WorkerRole};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};
use tuf_repository::roles::recover::FlooredRole;

use crate::error::CliError;
use crate::output::{Output, note, one_line};
use crate::role_arguments::floored_role;
use service::exit_code::CommandExit;

/// Resume roles after a restore
///
/// A role keeps a floor: the highest versions that it has seen or signed. When the repository is below the floor, for
/// example after a restore from a backup, the role stops with an alarm. This command lets it resume once, with versions
/// above the floor, so that all clients accept them. If a role's clock was ahead at its last signing, the
/// command also lets that role sign again.
///
/// Releases made since the backup are lost. Release them again, under new drop names.
///
/// Run the command where the workers' state_path is mounted; recover targets first. It needs no keys. A running worker
/// resumes at its next check, within reconcile_period.
///
/// If the state volume is lost too, the highest versions are unknown. Then stop the worker, run the command with
/// --beyond and a number larger than the number of releases and renewals since the backup (a million does no harm), and
/// start the worker.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged recover
  rugged recover --role targets --yes
  rugged recover --role targets --beyond 1000000")]
pub struct RecoverArgs {
    /// Resume one role only [default: every role below its floor]
    #[arg(long, value_name = "ROLE", value_parser = floored_role())]
    pub role: Option<FlooredRole>,
    /// Set the floor, even a lost one, at least this many versions above the repository
    #[arg(long, value_name = "NUMBER", requires = "role", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub beyond: Option<u64>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct RecoverReport {
    roles: Vec<RecoveredRole>,
}

/// A role, with the reasons why it is below its floor, and whether it may resume.
#[derive(Serialize)]
struct RecoveredRole {
    role: WorkerRole,
    below: Vec<String>,
    granted: bool,
}

/// Grants recovery to the roles that are below their floors.
///
/// # Errors
/// When no floor is found, the user does not confirm, or a file cannot be read or written.
pub fn run(config: &Config, args: RecoverArgs, output: Output) -> Result<CommandExit, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let wanted: Vec<FlooredRole> = match args.role {
        Some(role) => vec![role],
        None => FlooredRole::ALL.into(),
    };
    if let Some(numbers) = args.beyond {
        for &role in &wanted {
            note(&format!("{}: new floor at least {numbers} versions above the repository", worker_role(role)));
        }
        if !args.yes {
            confirm()?;
        }
        for &role in &wanted {
            recover::raise(&fs, config, role, numbers, SystemClock.now())
                .map_err(|error| explain_role_error(worker_role(role), error))?;
        }
    }
    let mut standings = Vec::new();
    for &role in &wanted {
        let standing = recover::inspect(&fs, config, role, SystemClock.now());
        standings.extend(standing.map_err(|error| explain_role_error(worker_role(role), error))?);
    }
    if standings.is_empty() {
        return Err(CliError::invalid_input(format!(
            "found no floor of {} in {}",
            wanted.iter().map(|&role| worker_role(role).to_string()).collect::<Vec<_>>().join(", "),
            config.state_path.display()
        ))
        .hint("run the command where the worker's state_path is mounted, as the worker's user; for a lost floor use --beyond"));
    }
    let below: Vec<&FloorStanding> = standings.iter().filter(|standing| !standing.below.is_empty()).collect();
    if !below.is_empty() {
        for standing in &below {
            note(&format!("{}: {}", standing.role, one_line(&reasons(standing).join("; "))));
        }
        if !args.yes && args.beyond.is_none() {
            confirm()?;
        }
        for standing in &below {
            recover::grant(&fs, config, standing).map_err(|error| explain_role_error(standing.role, error))?;
        }
    }
    let roles = standings
        .iter()
        .map(|standing| RecoveredRole {
            role: standing.role,
            below: reasons(standing),
            granted: !standing.below.is_empty(),
        })
        .collect();
    output.result(&RecoverReport { roles }, |report| {
        let line = |role: &RecoveredRole| {
            let state =
                if role.granted { "resumes above its floor at its next check" } else { "is not below its floor" };
            format!("{} {state}\n", role.role)
        };
        report.roles.iter().map(line).collect()
    })?;
    Ok(CommandExit::Success)
}

/// The reasons why a role is below its floor, as an administrator reads them.
fn reasons(standing: &FloorStanding) -> Vec<String> {
    standing.below.iter().map(ToString::to_string).collect()
}

fn explain_role_error(role: WorkerRole, error: SigningError) -> CliError {
    let failure = match error.kind() {
        SigningErrorKind::Infrastructure | SigningErrorKind::Waiting => CliError::local_failure(error),
        _ => CliError::request_refused(error),
    };
    failure.during(format!("cannot recover {role}"))
}

fn confirm() -> Result<(), CliError> {
    note("Releases made since the backup are lost. Release them again, under new drop names.");
    if !io::stdin().is_terminal() {
        return Err(CliError::invalid_input("recovery needs a confirmation, and standard input is not a terminal")
            .hint("confirm with --yes"));
    }
    let _ = write!(io::stderr(), "Resume above the floor? Type `recover` to confirm: ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::invalid_input(error).during("cannot read the confirmation"))?;
    if answer.trim() == "recover" {
        Ok(())
    } else {
        Err(CliError::invalid_input("recovery not confirmed; nothing was changed"))
    }
}
