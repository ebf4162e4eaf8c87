//! The two workers.

use std::process::Command;
use std::time::Duration;

use testkit::servers::{Process, Python, workspace};

use super::place::Place;
use super::proxy::Proxy;
use crate::Result;

/// How long a worker may take to end.
const ENDING: Duration = Duration::from_secs(60);

/// Whose worker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `celery-noop-worker`, with the defaults of our runtime.
    Ours,
    /// Celery's, prefork with two processes.
    Python,
}

impl Kind {
    /// As it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "tuf-fleet",
            Self::Python => "celery",
        }
    }
}

/// Starts one that consumes the place's queue.
///
/// # Errors
/// When our binary was not built.
pub fn start(kind: Kind, place: &Place, proxy: Option<&Proxy>) -> Result<Process> {
    let (broker, backend) = place.urls(proxy);
    let mut command = match kind {
        Kind::Ours => {
            let mut command = Command::new(crate::fleets::binary("celery-noop-worker")?);
            command.args([&broker, &backend, place.queue()]);
            command
        }
        Kind::Python => python("worker", &broker, &backend, place.queue()),
    };
    Ok(Process::spawn(&mut command))
}

/// Ends it warmly and waits for it.
///
/// # Errors
/// When it ended badly.
pub fn end(worker: Process) -> Result<()> {
    let finished = worker.terminate(ENDING);
    match finished.status.success() {
        true => Ok(()),
        false => Err(format!("a worker ended with {}\n{}", finished.status, finished.stderr).into()),
    }
}

/// The script that plays the Python side.
pub fn python(what: &str, broker: &str, backend: &str, queue: &str) -> Command {
    let mut command = Command::new(Python::interpreter());
    command.arg("-B").arg(workspace().join("benches/peers/celery_noop.py"));
    command.args([what, "--broker", broker, "--backend", backend, "--queue", queue]);
    command
}
