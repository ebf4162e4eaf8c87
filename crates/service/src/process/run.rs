//! A whole worker process, from its command line to its exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::{ConnectError, SharedBroker, connect};
use durable_fs::{Fs, RealFs};
use tokio_util::sync::CancellationToken;

use super::arguments::{WorkerArguments, WorkerCommand};
use super::complain::complain;
use super::healthcheck::healthcheck;
use super::host::host;
use super::restart::restart_in_place;
use super::signals::end_on_signals;
use super::worker::{Program, WorkerProcess, WorkerResources};
use crate::clock::SystemClock;
use crate::config::Sources;
use crate::error::ProcessError;
use crate::exit_code::WorkerExit;
use crate::sandbox::{self, Confinement, RestartReason, SandboxPlace, SandboxPlan};
use crate::settings::ProcessSettings;
use crate::{health, telemetry};

/// How long the broker may take to close the connection.
const BROKER_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole of a worker's `main`: `load` reads the configuration, and the worker it gives runs until SIGTERM or SIGINT
/// (it finishes its work in hand) or a second one (it ends immediately).
pub fn main<P: WorkerProcess>(program: Program, load: impl FnOnce(&Sources) -> Result<P, P::Error>) -> ExitCode {
    let arguments = WorkerArguments::of_process(&program);
    let exit = run(program, arguments, load).unwrap_or_else(|error| {
        let exit = P::exit_code(&error);
        // Before the configuration is known there is no log yet.
        if telemetry::is_installed() {
            tracing::error!(exit.code = exit.code(), %error, "worker failed");
        } else {
            complain(&format!("{}: {error}", program.name));
        }
        exit
    });
    exit.into()
}

fn run<P: WorkerProcess>(
    program: Program,
    arguments: WorkerArguments,
    load: impl FnOnce(&Sources) -> Result<P, P::Error>,
) -> Result<WorkerExit, P::Error> {
    let worker = load(&Sources::from_process(program.settings, arguments.config, arguments.set))?;
    let settings = worker.settings().clone();
    if let Some(WorkerCommand::Healthcheck { ready }) = arguments.command {
        return Ok(healthcheck(settings.health_address, if ready { "/readyz" } else { "/livez" }));
    }
    telemetry::init(&settings.log_level, settings.log_json);
    telemetry::set_process_worker(program.name);
    telemetry::log_panics();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // Before the sandbox, which would hide a key that must not be readable; and before there is another thread, which the
    // sandbox would not confine.
    worker.check_before_start(&fs, &SystemClock)?;
    let places = worker.sandbox_places();
    let plan = SandboxPlan { mode: settings.sandbox, places: places.clone(), credentials: settings.broker.files() };
    let confinement = sandbox::enter(fs.as_ref(), &plan)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name(program.name)
        .enable_all()
        .build()
        .map_err(|source| ProcessError::Io { action: "starting threads".into(), source })?;
    match runtime.block_on(serve(program, worker, settings, fs, confinement, places.into()))? {
        ProcessEnd::Asked => Ok(WorkerExit::Success),
        ProcessEnd::Restart => {
            drop(runtime);
            Err(restart_in_place().into())
        }
    }
}

/// How a worker without a failure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessEnd {
    /// For good.
    Asked,
    /// To be started again in place.
    Restart,
}

async fn serve<P: WorkerProcess>(
    program: Program,
    worker: P,
    settings: ProcessSettings,
    fs: Arc<dyn Fs>,
    confinement: Confinement,
    places: Arc<[SandboxPlace]>,
) -> Result<ProcessEnd, P::Error> {
    let shutdown = CancellationToken::new();
    end_on_signals(shutdown.clone())?;
    // Before the broker: a worker that cannot be observed connects to nothing.
    let listener = match settings.health_address {
        Some(address) => Some(health::bind(address).await?),
        None => None,
    };
    let broker = connect_broker(program, &settings).await?;
    tracing::info!(
        worker.version = program.version,
        broker.url = settings.broker.shown_url(),
        config.file = settings.file.as_ref().map(|path| path.display().to_string()),
        "process started"
    );
    if settings.broker.is_in_memory() {
        tracing::warn!("broker_url is memory://: no task from outside this process reaches this worker");
    }
    let started = worker.start(WorkerResources {
        fs: fs.clone(),
        broker: broker.clone(),
        clock: Arc::new(SystemClock),
        shutdown: shutdown.clone(),
    });
    let served = match listener {
        Some(listener) => {
            tracing::info!(
                health.address = listener.local_addr().ok().map(|address| address.to_string()),
                "health is served"
            );
            // Health is served to the last: it ends when the worker has ended.
            let ended = CancellationToken::new();
            let server = tokio::spawn(health::serve(listener, started.health.clone(), ended.clone()));
            Some((server, ended))
        }
        None => None,
    };
    let outdated = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                reason = confinement.outdated(fs, places) => {
                    shutdown.cancel();
                    Some(reason)
                }
                () = shutdown.cancelled() => None,
            }
        }
    });
    let outcome = host(broker.clone(), started).await;
    // Every task of this process that still waits ends now.
    shutdown.cancel();
    if let Some((server, ended)) = served {
        ended.cancel();
        server.abort();
    }
    if tokio::time::timeout(BROKER_CLOSE_TIMEOUT, broker.close()).await.is_err() {
        tracing::warn!(timeout_s = BROKER_CLOSE_TIMEOUT.as_secs(), "broker connection did not close");
    }
    outcome?;
    match outdated.await.unwrap_or(None) {
        None => {
            tracing::info!("process ended");
            Ok(ProcessEnd::Asked)
        }
        Some(RestartReason::PlacesComplete) => {
            tracing::info!("all places of the sandbox exist: the worker restarts in place");
            Ok(ProcessEnd::Restart)
        }
        Some(RestartReason::PlaceReplaced(path)) => Err(ProcessError::PlaceReplaced(path).into()),
    }
}

async fn connect_broker(program: Program, settings: &ProcessSettings) -> Result<SharedBroker, ProcessError> {
    let options = settings.broker.connect_options(format!("{}@{}", program.name, settings.instance));
    connect(&settings.broker.url, options).await.map_err(|error| match error {
        error @ ConnectError::Url(_) => ProcessError::BrokerUrl(error),
        error => ProcessError::Broker(error),
    })
}
