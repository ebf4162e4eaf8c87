//! The process of a worker of the fleet: the fleet's configuration, preflight and sandbox places for [`service::process`].

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::SharedBroker;
use durable_fs::{Fs, RealFs};
use service::clock::Clock;
use service::exit_code::WorkerExit;
use service::process::{Program, StartedWorker, WorkerProcess, WorkerResources};
use service::sandbox::SandboxPlace;
use service::settings::ProcessSettings;
use tracing::Instrument as _;

use crate::config::{Config, SETTINGS};
use crate::context::{Context, VERSION, WorkerInfo};
use crate::contract::WorkerStatus;
use crate::error::FleetError;
use crate::preflight::FindingScope;
use crate::roles::WorkerRole;
use crate::{places, preflight};

/// A worker that has just started reports an unreachable broker after this time.
const BROKER_REPORT_DELAY: Duration = Duration::from_secs(10);

/// The whole of a worker's `main`: runs `run` with the configuration of the command line, the environment and the file,
/// until SIGTERM or SIGINT (it finishes its work in hand) or a second one (it ends immediately). The exit code is a
/// [`WorkerExit`].
pub fn main<F, Fut>(worker: WorkerInfo, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    let program = Program { name: worker.name, about: worker.about, version: VERSION, settings: &SETTINGS };
    service::process::main(program, |sources| {
        let config = Arc::new(Config::load(sources, &RealFs)?);
        Ok(FleetProcess { worker, config, run })
    })
}

/// Runs one worker in a process that hosts several, while its health follows the state of the broker.
///
/// # Errors
/// The worker's own failure.
pub async fn host<F, Fut>(context: Context, run: F) -> Result<(), FleetError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    service::process::host(context.broker.clone(), started(context, run)).await
}

fn started<F, Fut>(context: Context, run: F) -> StartedWorker<WorkerStatus, Fut>
where
    F: FnOnce(Context) -> Fut,
{
    let (health, span) = (context.health.clone(), context.span.clone());
    StartedWorker { health, span, work: run(context) }
}

struct FleetProcess<F> {
    worker: WorkerInfo,
    config: Arc<Config>,
    run: F,
}

impl<F, Fut> WorkerProcess for FleetProcess<F>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    type Status = WorkerStatus;
    type Error = FleetError;

    fn settings(&self) -> &ProcessSettings {
        &self.config.process
    }

    fn sandbox_places(&self) -> Vec<SandboxPlace> {
        places::in_sandbox(&self.config, self.worker.role)
    }

    fn check_before_start(&self, fs: &Arc<dyn Fs>, clock: &dyn Clock) -> Result<(), FleetError> {
        preflight::at_start(fs, &self.config, self.worker.role, clock.now())
    }

    fn start(
        self,
        resources: WorkerResources,
    ) -> StartedWorker<WorkerStatus, impl Future<Output = Result<(), FleetError>>> {
        let Self { worker, config, run } = self;
        let WorkerResources { fs, broker, clock, shutdown } = resources;
        let context = Context::new(worker, config.clone(), fs, broker.clone(), clock, shutdown);
        tokio::spawn(warn_of_broker(broker, config, worker.role).instrument(context.span.clone()));
        started(context, run)
    }

    fn exit_code(error: &FleetError) -> WorkerExit {
        error.exit_code()
    }
}

async fn warn_of_broker(broker: SharedBroker, config: Arc<Config>, role: WorkerRole) {
    if let Some(finding) =
        preflight::reachable(broker.as_ref(), &config, FindingScope::Role(role), BROKER_REPORT_DELAY).await
    {
        tracing::warn!(preflight.check = finding.check, %finding, "preflight finding");
    }
}
