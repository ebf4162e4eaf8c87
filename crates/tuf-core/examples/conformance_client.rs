//! A client that speaks the command line of the public conformance suite, `theupdateframework/tuf-conformance`:
//!
//! ```text
//! conformance_client --metadata-dir DIR init TRUSTED_ROOT
//! conformance_client --metadata-dir DIR --metadata-url URL refresh
//! conformance_client --metadata-dir DIR --metadata-url URL --target-name NAME… --target-base-url URL --target-dir DIR download
//! ```
//!
//! Exit code 0 if everything succeeded, otherwise 1. Build it with `cargo build -p tuf-core --features http --example
//! conformance_client`, then run the suite with `pytest tuf_conformance --entrypoint target/debug/examples/conformance_client`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a program of its own: it reads the clock and its arguments"
)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable_fs::RealFs;
use tuf_core::client::{Client, ClientLimits, HttpDirectory, StateDirectory, TargetDirectory, TargetFileNames};
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;

const USER_AGENT: &str = concat!("tuf-core-conformance/", env!("CARGO_PKG_VERSION"));
/// Longest wait for another client that uses the same directory.
const LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Arguments {
    metadata_dir: Option<String>,
    metadata_url: Option<String>,
    target_names: Vec<String>,
    target_base_url: Option<String>,
    target_dir: Option<String>,
    /// The command and what follows it.
    command: Vec<String>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut read = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--metadata-dir" => read.metadata_dir = Some(value()?),
                "--metadata-url" => read.metadata_url = Some(value()?),
                "--target-name" => read.target_names.push(value()?),
                "--target-base-url" => read.target_base_url = Some(value()?),
                "--target-dir" => read.target_dir = Some(value()?),
                _ => read.command.push(argument),
            }
        }
        Ok(read)
    }
}

fn needed(value: Option<String>, option: &str) -> Result<String, Box<dyn Error>> {
    value.ok_or_else(|| format!("{option} is needed").into())
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let limits = ClientLimits::default();
    let state = StateDirectory::open(Arc::new(RealFs), needed(arguments.metadata_dir, "--metadata-dir")?, LOCK_WAIT)?;
    let command: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
    if let ["init", trusted_root] = command[..] {
        state.initialize(&std::fs::read(trusted_root)?, limits.root_bytes)?;
        return Ok(());
    }
    let metadata = HttpDirectory::new(&needed(arguments.metadata_url, "--metadata-url")?, USER_AGENT)?;
    let targets = match &arguments.target_base_url {
        Some(url) => HttpDirectory::new(url, USER_AGENT)?,
        None => metadata.clone(),
    };
    let mut client = Client::open(state, metadata, targets, limits)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    client.refresh(UtcTime::from_unix(i64::try_from(now)?))?;
    match command[..] {
        ["refresh"] => Ok(()),
        ["download"] => {
            let dir = PathBuf::from(needed(arguments.target_dir, "--target-dir")?);
            let directory = TargetDirectory::new(Arc::new(RealFs), dir, TargetFileNames::Paths);
            for name in &arguments.target_names {
                let target = client.download_into(&TargetPath::new(name)?, &directory, &mut |_| ())?;
                eprintln!("{name}: {}, {} bytes", target.file.display(), target.meta.length);
            }
            Ok(())
        }
        _ => Err("the command is `init TRUSTED_ROOT`, `refresh` or `download`".into()),
    }
}

fn main() -> ExitCode {
    let done = Arguments::read(std::env::args().skip(1)).and_then(run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
