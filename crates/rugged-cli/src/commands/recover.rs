//! `rugged recover`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::clock::{Clock as _, SystemClock};
use fleet::recover::{self, Standing};
use fleet::signing::{SigningError, SigningErrorKind};
use serde::Serialize;

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, note, one_line};

#[derive(Serialize)]
struct Document {
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct Role {
    role: String,
    below: Vec<String>,
    granted: bool,
}

pub fn run(config: &Config, args: args::Recover, output: Output) -> Result<u8, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let wanted: Vec<&str> = match &args.role {
        Some(role) => vec![role],
        None => recover::ROLES.into(),
    };
    if let Some(numbers) = args.beyond {
        for role in &wanted {
            note(&format!("{role}: goes on at least {numbers} numbers above what the repository shows"));
        }
        if !args.yes {
            confirm()?;
        }
        for role in &wanted {
            recover::raise(&fs, config, role, numbers, SystemClock.now()).map_err(|error| explain(role, &error))?;
        }
    }
    let mut standings = Vec::new();
    for role in &wanted {
        standings.extend(recover::look(&fs, config, role, SystemClock.now()).map_err(|error| explain(role, &error))?);
    }
    if standings.is_empty() {
        return Err(CliError::usage(format!(
            "no floor of {} is kept below {}",
            wanted.join(", "),
            config.state_path.display()
        ))
        .hint("run it where the worker's state_path is mounted, as the worker's user"));
    }
    let below: Vec<&Standing> = standings.iter().filter(|standing| !standing.below.is_empty()).collect();
    if !below.is_empty() {
        for standing in &below {
            note(&format!("{}: {}", standing.role, one_line(&standing.below.join("; "))));
        }
        if !args.yes && args.beyond.is_none() {
            confirm()?;
        }
        for standing in &below {
            recover::grant(&fs, config, standing).map_err(|error| explain(&standing.role, &error))?;
        }
    }
    let roles = standings
        .iter()
        .map(|standing| Role {
            role: standing.role.clone(),
            below: standing.below.clone(),
            granted: !standing.below.is_empty(),
        })
        .collect();
    output.result(&Document { roles }, |document| {
        let line = |role: &Role| {
            let what =
                if role.granted { "goes on above its floor, at its next look" } else { "is not below its floor" };
            format!("{} {what}\n", role.role)
        };
        document.roles.iter().map(line).collect()
    })?;
    Ok(exit_code::OK)
}

fn explain(role: &str, error: &SigningError) -> CliError {
    let message = format!("{role}: {error}");
    match error.kind() {
        SigningErrorKind::Infrastructure | SigningErrorKind::Waiting => CliError::infrastructure(message),
        _ => CliError::refused(message),
    }
}

fn confirm() -> Result<(), CliError> {
    note("What was released since the backup is lost and has to be released again, under new drop names.");
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("going on above the floor needs a confirmation").hint("--yes says it"));
    }
    let _ = write!(io::stderr(), "Go on above the floor? Type `recover`: ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| CliError::usage(format!("no answer: {error}")))?;
    if answer.trim() == "recover" { Ok(()) } else { Err(CliError::usage("nothing was done")) }
}
