//! The command line of the ceremony binary.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use durable_fs::{Fs, RealFs};
use fleet::Config;
use root_worker::{CeremonyError, KeyKind, KeyRequest, generate_keys, initialize};
use service::clock::{Clock as _, SystemClock};
use service::config::Sources;
use service::exit_code::WorkerExit;

/// Key generation and root metadata, for the administrator's environment only. Takes nothing from the broker.
#[derive(Debug, Parser)]
#[command(name = "root-worker", version)]
struct Arguments {
    /// Configuration file; without it RUGGED_CONFIG, else /etc/rugged/config.yaml if it exists
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Sets one configuration key, over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes key pairs; existing ones are never overwritten
    GenerateKeys {
        /// Role to make keys for; may be repeated, all roles without it
        #[arg(long = "role")]
        roles: Vec<String>,
        /// Kind of key
        #[arg(long = "type", value_enum, default_value = "ed25519")]
        kind: Kind,
        /// Name of the key; may be repeated
        #[arg(long = "name")]
        names: Vec<String>,
    },
    /// Writes and pins 1.root.json from the verification keys, signed with the root keys
    Initialize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Ed25519,
    Ecdsa,
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let sources = Sources::from_process(&fleet::config::SETTINGS, arguments.config.clone(), arguments.set.clone());
    let config = match Config::load(&sources, fs.as_ref()) {
        Ok(config) => config,
        Err(error) => return fail(&error, WorkerExit::InvalidInput),
    };
    match run(arguments.command, &fs, &config) {
        Ok(lines) => {
            let mut out = io::stdout().lock();
            // A closed pipe is the reader's wish.
            let _ = writeln!(out, "{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error @ (CeremonyError::Io { .. } | CeremonyError::Store(_))) => fail(&error, WorkerExit::Infrastructure),
        Err(error @ CeremonyError::Request(_)) => fail(&error, WorkerExit::InvalidInput),
        Err(error) => fail(&error, WorkerExit::Refused),
    }
}

fn run(command: Command, fs: &Arc<dyn Fs>, config: &Config) -> Result<Vec<String>, CeremonyError> {
    match command {
        Command::GenerateKeys { roles, kind, names } => {
            let kind = match kind {
                Kind::Ed25519 => KeyKind::Ed25519,
                Kind::Ecdsa => KeyKind::EcdsaP256,
            };
            let keys = generate_keys(fs.as_ref(), config, &KeyRequest { roles, kind, names })?;
            Ok(keys.iter().map(|key| format!("{} {} {}", key.role, key.keyid, key.private_path.display())).collect())
        }
        Command::Initialize => {
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
