//! Workers hosted by this process, over a broker inside it or the configured one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::memory::MemoryBroker;
use celery_runtime::broker::socket::{ServeError, SocketServer};
use celery_runtime::broker::{Broker as _, SharedBroker, TaskQueue, connect};
use durable_fs::{Fs, RealFs, durable};
use fleet::contract::ADMIN_EXCHANGE;
use fleet::{Config, Context, FleetError, WorkerRole};
use service::clock::SystemClock;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::hosted_worker::{run_worker, worker_info};
use super::local_broker::{fleet_socket_path, uses_memory_broker};
use crate::error::CliError;

/// How long hosted workers may take to finish their work.
const WARM_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Workers hosted by this process. On `memory://` other processes reach them through the socket in `state_path`, and no
/// second process can host workers on the same state.
pub struct EmbeddedFleet {
    broker: EmbeddedBroker,
    workers: JoinSet<(&'static str, Result<(), FleetError>)>,
    shutdown: CancellationToken,
    socket: Option<FleetSocket>,
}

/// The broker that the hosted workers use.
enum EmbeddedBroker {
    Memory(MemoryBroker),
    Remote(SharedBroker),
}

impl EmbeddedFleet {
    /// Starts the workers of `roles`. Missing directories of this machine (drop, inbound, state) are created. The repository is not,
    /// so that a missing mount is never mistaken for a new repository.
    ///
    /// # Errors
    /// In production, when another process already hosts the fleet, or when a directory cannot be created.
    pub async fn start(config: &Arc<Config>, roles: &[WorkerRole]) -> Result<Self, CliError> {
        if config.is_production() {
            return Err(CliError::request_refused(
                "`environment: production` forbids one process from holding the keys of several roles",
            )
            .hint("run one process per worker, and set broker_url to the broker that joins them"));
        }
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        make_dirs(fs.as_ref(), config)?;
        let shutdown = CancellationToken::new();
        let (broker, socket) = if uses_memory_broker(config)? {
            let broker = MemoryBroker::new();
            let socket = serve_socket(config, &broker).await?;
            // The queue exists before its worker listens, so that no task is lost.
            for role in roles {
                let queue = TaskQueue::new(role.queue()).also_bound_to(ADMIN_EXCHANGE);
                let declared = broker.connect().declare_task_queue(&queue).await;
                declared
                    .map_err(|error| CliError::local_failure(error).during("cannot declare the queues of the fleet"))?;
            }
            (EmbeddedBroker::Memory(broker), socket)
        } else {
            let options = config.connect_options(format!("rugged@{}", config.process.instance));
            let broker = connect(&config.process.broker.url, options).await;
            (
                EmbeddedBroker::Remote(
                    broker.map_err(|error| CliError::invalid_input(error).during("invalid broker_url"))?,
                ),
                None,
            )
        };
        let mut embedded = Self { broker, workers: JoinSet::new(), shutdown, socket };
        for &role in roles {
            let info = worker_info(role);
            let context = Context::new(
                info,
                Arc::clone(config),
                Arc::clone(&fs),
                embedded.connect(),
                Arc::new(SystemClock),
                embedded.shutdown.clone(),
            );
            let worker = run_worker(role, context);
            embedded.workers.spawn(async move { (info.name, worker.await) });
        }
        Ok(embedded)
    }

    /// A connection to the broker of the hosted workers.
    #[must_use]
    pub fn connect(&self) -> SharedBroker {
        match &self.broker {
            EmbeddedBroker::Memory(broker) => Arc::new(broker.connect()),
            EmbeddedBroker::Remote(broker) => Arc::clone(broker),
        }
    }

    /// Waits until a worker ends unexpectedly, and returns the reason.
    pub async fn ended(&mut self) -> CliError {
        match self.workers.join_next().await {
            Some(Ok((_, Err(error)))) => error.into(),
            Some(Ok((name, Ok(())))) => CliError::local_failure(format!("{name} ended unexpectedly")),
            Some(Err(error)) => CliError::local_failure(error).during("a hosted worker ended unexpectedly"),
            None => std::future::pending().await,
        }
    }

    /// Stops the workers after they have finished their work, and returns the first error of any of them.
    pub async fn stop(mut self) -> Option<CliError> {
        self.shutdown.cancel();
        let mut first_error = None;
        let finishing = async {
            while let Some(ended) = self.workers.join_next().await {
                let error = match ended {
                    Ok((_, Ok(()))) => continue,
                    Ok((_, Err(error))) => error.into(),
                    Err(error) => CliError::local_failure(error).during("a hosted worker ended unexpectedly"),
                };
                first_error.get_or_insert(error);
            }
        };
        if tokio::time::timeout(WARM_SHUTDOWN_TIMEOUT, finishing).await.is_err() {
            first_error.get_or_insert(CliError::local_failure(format!(
                "the workers did not finish within {} s and were stopped; they resume their work at the next start",
                WARM_SHUTDOWN_TIMEOUT.as_secs()
            )));
            self.workers.shutdown().await;
        }
        if let Some((serving, ended)) = self.socket.take() {
            ended.cancel();
            let _ = serving.await;
        }
        if let EmbeddedBroker::Remote(broker) = &self.broker {
            let _ = tokio::time::timeout(Duration::from_secs(2), broker.close()).await;
        }
        first_error
    }
}

impl fmt::Debug for EmbeddedFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedFleet").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

fn make_dirs(fs: &dyn Fs, config: &Config) -> Result<(), CliError> {
    let dirs = [(&config.state_path, 0o700), (&config.post_to_tuf_path, 0o775), (&config.inbound_targets_path, 0o775)];
    for (dir, mode) in dirs {
        durable::create_dir_all(fs, dir, mode).map_err(|error| {
            CliError::writing(dir, error)
                .hint("find the setting that names it with `rugged config`, and choose another directory with --set")
        })?;
    }
    Ok(())
}

/// Longest path of a Unix socket, in bytes.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The server of the fleet's socket, and the token that ends it.
type FleetSocket = (JoinHandle<()>, CancellationToken);

async fn serve_socket(config: &Config, broker: &MemoryBroker) -> Result<Option<FleetSocket>, CliError> {
    let path = fleet_socket_path(config);
    if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        tracing::warn!(path = %path.display(), "socket path too long; other processes cannot reach this fleet");
        return Ok(None);
    }
    let server = SocketServer::bind(&path).await.map_err(|error| match error {
        ServeError::InUse { .. } => CliError::request_refused(format!(
            "another process already hosts the fleet of {}",
            config.state_path.display()
        ))
        .hint("use that fleet: the other commands find it through state_path"),
        error => CliError::local_failure(error),
    })?;
    let ended = CancellationToken::new();
    let serving = tokio::spawn(server.serve(broker.clone(), ended.clone()));
    Ok(Some((serving, ended)))
}
