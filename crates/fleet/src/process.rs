//! The process around a worker: command line, configuration, logs, runtime, broker, health, signals, exit code.

use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::{ConnectError, SharedBroker, connect};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use durable_fs::{Fs, RealFs};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Sources};
use crate::context::VERSION;
use crate::sandbox::{self, Outdated, Sandbox};
use crate::{FleetError, exit_code, health, preflight, telemetry};

pub use crate::context::{Context, WorkerInfo};

/// How long the broker may take to say goodbye.
const CLOSE: Duration = Duration::from_secs(5);
/// After that long without the broker a worker that has just started says so.
const UNREACHABLE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 ended as asked; 1 failure; 2 usage or configuration; 3 refused for the sake of keys or \
                  repository; 4 infrastructure; 5 unhealthy (healthcheck); 101 a bug; 130 killed by a second signal."
)]
struct Arguments {
    /// Configuration file; without it RUGGED_CONFIG, else /etc/rugged/config.yaml if it exists
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Sets one configuration key, over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the worker that runs with this configuration whether it is live; for a container's health check
    Healthcheck {
        /// Ask whether it can do its job instead
        #[arg(long)]
        ready: bool,
    },
}

/// The whole of a worker's `main`: runs `run` with what the command line, the environment and the configuration say,
/// until SIGTERM or SIGINT (finish and end) or a second one (end at once). The exit code is one of [`exit_code`].
pub fn main<F, Fut>(worker: WorkerInfo, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    let command = Arguments::command().name(worker.name).about(worker.about).version(VERSION);
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match start(worker, arguments, run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.exit_code();
            // Before the configuration is known there is no log yet.
            if telemetry::is_installed() {
                tracing::error!(exit.code = code, "{} ends: {error}", worker.name);
            } else {
                complain(&format!("{}: {error}", worker.name));
            }
            ExitCode::from(code)
        }
    }
}

fn start<F, Fut>(worker: WorkerInfo, arguments: Arguments, run: F) -> Result<u8, FleetError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    let config = Config::load(&Sources::from_process(arguments.config, arguments.set), &RealFs)?;
    if let Some(Command::Healthcheck { ready }) = arguments.command {
        return Ok(healthcheck(&config, if ready { "/readyz" } else { "/livez" }));
    }
    telemetry::init(&config);
    telemetry::set_process_worker(worker.name);
    telemetry::log_panics();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // Before the sandbox, which would hide a key that must not be there; and before there is another thread, which the
    // sandbox would not hold.
    preflight::at_start(&fs, &config, worker.role, SystemClock.now())?;
    let sandbox = sandbox::enter(fs.as_ref(), &config, worker.role)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name(worker.name)
        .enable_all()
        .build()
        .map_err(|source| FleetError::Io { what: "starting threads".into(), source })?;
    if runtime.block_on(serve(worker, config, fs, sandbox, run))? == End::Anew {
        drop(runtime);
        return Err(start_anew());
    }
    Ok(exit_code::OK)
}

/// How a worker that did nothing wrong ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// For good.
    Asked,
    /// To be started again at once.
    Anew,
}

/// Replaces this process by a new run of the same program with the same arguments and the same process id. Returns only
/// if that fails.
fn start_anew() -> FleetError {
    // A program that was upgraded meanwhile has another file under its name, or none.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    FleetError::Io { what: "starting anew".into(), source: command.args(arguments).exec() }
}

async fn serve<F, Fut>(
    worker: WorkerInfo,
    config: Config,
    fs: Arc<dyn Fs>,
    sandbox: Sandbox,
    run: F,
) -> Result<End, FleetError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    let shutdown = CancellationToken::new();
    end_on_signals(shutdown.clone())?;
    let options = config.connect_options(format!("{}@{}", worker.name, config.instance));
    let broker = connect(&config.broker_url, options).await.map_err(|error| match error {
        ConnectError::Url(error) => FleetError::BrokerUrl(error.to_string()),
        error => FleetError::Broker(error.to_string()),
    })?;
    let config = Arc::new(config);
    let context =
        Context::new(worker, config.clone(), fs.clone(), broker.clone(), Arc::new(SystemClock), shutdown.clone());
    tracing::info!(
        worker.version = VERSION,
        broker.url = config.shown_broker_url(),
        config.file = config.file().map(|path| path.display().to_string()),
        "{} {VERSION} starts",
        worker.name
    );
    if config.broker_url.starts_with("memory:") {
        tracing::warn!("broker_url is memory://: no task from outside this process reaches this worker");
    }
    let served = match config.health_address {
        Some(address) => {
            let listener = health::bind(address).await?;
            tracing::info!(health.address = %listener.local_addr().unwrap_or(address), "health is served");
            // Health is told to the last: it ends when the worker has ended.
            let ended = CancellationToken::new();
            let server = tokio::spawn(health::serve(listener, context.health.clone(), ended.clone()));
            Some((server, ended))
        }
        None => None,
    };
    tokio::spawn(warn_of_broker(broker.clone(), config.clone(), worker.role).instrument(context.span.clone()));
    let outdated = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                outdated = sandbox.outdated(fs, config, worker.role) => {
                    shutdown.cancel();
                    Some(outdated)
                }
                () = shutdown.cancelled() => None,
            }
        }
    });
    let outcome = host(context, run).await;
    // Anything of this process that is still waiting ends now.
    shutdown.cancel();
    if let Some((server, ended)) = served {
        ended.cancel();
        server.abort();
    }
    if tokio::time::timeout(CLOSE, broker.close()).await.is_err() {
        tracing::warn!("the broker connection did not close within {} s", CLOSE.as_secs());
    }
    outcome?;
    match outdated.await.unwrap_or(None) {
        None => {
            tracing::info!("{} ended", worker.name);
            Ok(End::Asked)
        }
        Some(Outdated::Complete) => {
            tracing::info!("everything the sandbox needs is there: {} starts anew", worker.name);
            Ok(End::Anew)
        }
        Some(Outdated::Replaced(path)) => {
            let source =
                io::Error::other("it was mounted or made anew, and the sandbox admits the old one only: start again");
            Err(FleetError::Io { what: path.display().to_string(), source })
        }
    }
}

async fn warn_of_broker(broker: SharedBroker, config: Arc<Config>, role: &'static str) {
    if let Some(finding) = preflight::reachable(broker.as_ref(), &config, role, UNREACHABLE).await {
        tracing::warn!(preflight.check = finding.check, "preflight: {finding}");
    }
}

/// Runs one worker inside its span while its health follows the state of the broker. This is what `main` does for a
/// worker process; a process that hosts several workers calls it once for each.
///
/// # Errors
/// What the worker said.
pub async fn host<F, Fut>(context: Context, run: F) -> Result<(), FleetError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), FleetError>>,
{
    let span = context.span.clone();
    let mut connection = context.broker.connection_state();
    let health = context.health.clone();
    let watching = async move {
        loop {
            let connected = connection.borrow_and_update().connected;
            health.set_broker_connected(connected);
            if connection.changed().await.is_err() {
                health.set_broker_connected(false);
                return std::future::pending::<()>().await;
            }
        }
    };
    let work = run(context);
    async move {
        tokio::select! {
            outcome = work => outcome,
            () = watching => Ok(()),
        }
    }
    .instrument(span)
    .await
}

fn end_on_signals(shutdown: CancellationToken) -> Result<(), FleetError> {
    let listen = |kind| signal(kind).map_err(|source| FleetError::Io { what: "listening to signals".into(), source });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "{name}: finishing what is under way; a second signal ends at once");
        shutdown.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "{name} again: ending at once");
        std::process::exit(exit_code::KILLED.into());
    });
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn healthcheck(config: &Config, path: &str) -> u8 {
    let address = match config.health_address {
        Some(address) if address.port() != 0 => address,
        _ => {
            complain("health_address is not configured, or leaves the port to chance: there is nothing to ask");
            return exit_code::USAGE;
        }
    };
    match health::probe(address, path) {
        Ok(answer) => {
            // Nobody may be reading; the exit code tells all the same.
            let _ = io::stdout().write_all(answer.body.as_bytes());
            if answer.is_ok() { exit_code::OK } else { exit_code::UNHEALTHY }
        }
        Err(error) => {
            complain(&format!("no answer from {address}: {error}"));
            exit_code::UNHEALTHY
        }
    }
}

fn complain(text: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
