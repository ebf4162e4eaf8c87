//! A worker as its process sees it.

use std::future::Future;
use std::sync::Arc;

use celery_runtime::broker::SharedBroker;
use durable_fs::Fs;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::clock::Clock;
use crate::config::SettingsTable;
use crate::error::ProcessError;
use crate::exit_code::WorkerExit;
use crate::health::{StatusBody, WorkerHealth};
use crate::sandbox::SandboxPlace;
use crate::settings::ProcessSettings;

/// The program of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, which is the worker's.
    pub name: &'static str,
    /// Its purpose, for `--help`.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The settings it takes.
    pub settings: &'static SettingsTable,
}

/// The parts that the process gives to its worker.
#[derive(Clone, Debug)]
pub struct WorkerResources {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The broker; it connects in the background.
    pub broker: SharedBroker,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the worker has to finish its work in hand and end.
    pub shutdown: CancellationToken,
}

/// A worker that runs.
#[derive(Debug)]
pub struct StartedWorker<S, W> {
    /// Its health, which the process serves.
    pub health: WorkerHealth<S>,
    /// The span it logs in.
    pub span: Span,
    /// Its work, until it ends; the worker must end soon after `shutdown` is cancelled.
    pub work: W,
}

/// A configured worker that [`super::main`] can run.
pub trait WorkerProcess: Sized {
    /// The body of `/status`.
    type Status: StatusBody;
    /// A failure of the worker as a whole.
    type Error: std::error::Error + From<ProcessError>;

    /// The settings of the process.
    fn settings(&self) -> &ProcessSettings;

    /// The worker's own places in the sandbox.
    fn sandbox_places(&self) -> Vec<SandboxPlace>;

    /// Checks that must precede the sandbox and every other thread.
    ///
    /// # Errors
    /// A finding for which the worker must not start.
    fn check_before_start(&self, fs: &Arc<dyn Fs>, clock: &dyn Clock) -> Result<(), Self::Error>;

    /// Starts the worker, inside the runtime.
    fn start(
        self,
        resources: WorkerResources,
    ) -> StartedWorker<Self::Status, impl Future<Output = Result<(), Self::Error>>>;

    /// The exit code for `error`.
    fn exit_code(error: &Self::Error) -> WorkerExit;
}
