//! The command line of the ceremony binary.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use durable_fs::{Fs, RealFs};
use fleet::{Config, KeyRole};
use root_worker::{CeremonyError, KeyKind, KeyRequest, generate_keys, initialize};
use service::clock::{Clock as _, SystemClock};
use service::config::Sources;
use service::exit_code::WorkerExit;

/// Generate keys and create the first root
///
/// Run it only on the administrator's machine, which holds the root keys. It takes no task from the broker.
///
/// Exit codes: 0 success, 2 invalid command line or configuration, 3 keys are missing or cannot be used, or refused
/// to protect the keys or the repository, 4 another file cannot be read or written.
#[derive(Debug, Parser)]
#[command(name = "root-worker", version)]
struct CeremonyCli {
    /// Configuration file [default: RUGGED_CONFIG, else /etc/rugged/config.yaml if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Set one configuration key; overrides the file and the environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    command: CeremonyCommand,
}

#[derive(Debug, Subcommand)]
enum CeremonyCommand {
    /// Generate key pairs; existing ones are never overwritten
    GenerateKeys {
        /// Role to generate keys for; may be repeated [default: all roles]
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<KeyRole>,
        /// Type of the keys
        #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "ed25519")]
        kind: KeyKind,
        /// Name of a key; may be repeated [default: keys.ROLE, else ROLE, ROLE1, … up to the role's threshold]
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Create and pin 1.root.json from the verification keys, signed with the root keys
    Initialize,
}

/// Runs the command that the command line names.
pub(crate) fn run() -> ExitCode {
    let arguments = CeremonyCli::parse();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let sources = Sources::from_process(&fleet::config::SETTINGS, arguments.config.clone(), arguments.set.clone());
    let config = match Config::load(&sources, fs.as_ref()) {
        Ok(config) => config,
        Err(error) => return fail(&error, WorkerExit::InvalidInput),
    };
    match perform(arguments.command, &fs, &config) {
        Ok(lines) => {
            let mut out = io::stdout().lock();
            // A closed pipe is no error.
            let _ = writeln!(out, "{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error @ (CeremonyError::Io { .. } | CeremonyError::Store(_))) => fail(&error, WorkerExit::Infrastructure),
        Err(error) if error.is_invalid_request() => fail(&error, WorkerExit::InvalidInput),
        Err(error) => fail(&error, WorkerExit::Refused),
    }
}

fn perform(command: CeremonyCommand, fs: &Arc<dyn Fs>, config: &Config) -> Result<Vec<String>, CeremonyError> {
    match command {
        CeremonyCommand::GenerateKeys { roles, kind, names } => {
            let keys = generate_keys(fs.as_ref(), config, &KeyRequest { roles, kind, names })?;
            Ok(keys.iter().map(|key| format!("{} {} {}", key.role, key.keyid, key.private_path.display())).collect())
        }
        CeremonyCommand::Initialize => {
            let made = initialize(fs, config, SystemClock.now())?;
            Ok(vec![format!(
                "{} (pinned as {}, expires {})",
                made.root_path.display(),
                made.pinned_path.display(),
                made.expires
            )])
        }
    }
}

fn fail(error: &dyn std::fmt::Display, exit: WorkerExit) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "error: {error}");
    exit.into()
}
