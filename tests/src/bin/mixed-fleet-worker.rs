//! The Rust worker of the mixed fleet; `tests/python/mixed_fleet_worker.py` is the Python one, with the same tasks.
//!
//! ```text
//! mixed-fleet-worker BROKER RESULTS QUEUE DIR
//! ```
//!
//! SIGTERM is a warm shutdown.
#![allow(clippy::disallowed_methods, reason = "a helper of tests: its ledger is no file of the fleet's")]

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::{ConnectOptions, connect};
use celery_runtime::worker::Worker;
use celery_runtime::{Arguments, TaskError, backend};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Few at once, so that there is something left for the others and something to lose.
const PREFETCH: u16 = 4;
const POLL: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mixed-fleet-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
    let (broker, results) = (word("the broker's url")?, word("the result backend's url")?);
    let (queue, dir) = (word("the queue")?, Arc::<Path>::from(Path::new(&word("the directory")?)));

    let broker = connect(&broker, ConnectOptions::default()).await?;
    let results = backend::connect(&results, broker.clone(), ConnectOptions::default()).await?;
    let worker = Worker::builder(broker)
        .name("rust@mixed")
        .backend(results)
        .queue(queue)
        .prefetch(PREFETCH)
        .task("mixed.note", move |context, arguments: Arguments| {
            let dir = dir.clone();
            async move {
                let (number, holder): (u64, String) = arguments.bind_tuple(&["number", "holder"])?;
                let id = context.task_id;
                note(&dir, &format!("run {id} rust"))?;
                if holder == "rust" && !dir.join(&id).exists() {
                    note(&dir, &format!("held {id} rust"))?;
                    while !dir.join(&id).exists() {
                        tokio::time::sleep(POLL).await;
                    }
                } else {
                    tokio::time::sleep(Duration::from_millis(5 * (number % 4))).await;
                }
                Ok(json!(2 * number))
            }
        })
        .build()?;
    let shutdown = CancellationToken::new();
    let (mut terminated, told) = (signal(SignalKind::terminate())?, shutdown.clone());
    tokio::spawn(async move {
        terminated.recv().await;
        told.cancel();
    });
    worker.run(shutdown).await?;
    Ok(())
}

/// One line, in one write to the end of the file: whole or not there, whoever is killed.
fn note(dir: &Path, line: &str) -> Result<(), TaskError> {
    let written = OpenOptions::new().append(true).create(true).open(dir.join("ledger"));
    written
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .map_err(|error| TaskError::runtime_error(format!("no ledger: {error}")))
}
