//! Workers in this process, over a broker of its own or the configured one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::memory::MemoryBroker;
use celery_runtime::broker::socket::{ServeError, SocketServer};
use celery_runtime::broker::{Broker as _, SharedBroker, TaskQueue, connect};
use durable_fs::{Fs, RealFs, durable};
use fleet::contract::ADMIN_EXCHANGE;
use fleet::{Config, Context, FleetError, WorkerInfo, process};
use service::clock::SystemClock;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{is_memory, socket_path};
use crate::error::CliError;

/// How long hosted workers may take to finish what they do.
const WARM: Duration = Duration::from_secs(60);

/// A worker that can be hosted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosted {
    /// The monitor-worker.
    Monitor,
    /// The targets-worker.
    Targets,
    /// The snapshot-worker.
    Snapshot,
    /// The timestamp-worker.
    Timestamp,
}

type Running = Pin<Box<dyn Future<Output = Result<(), FleetError>> + Send>>;

impl Hosted {
    /// The whole fleet.
    pub const ALL: [Self; 4] = [Self::Monitor, Self::Targets, Self::Snapshot, Self::Timestamp];
    /// The signing roles.
    pub const SIGNING: [Self; 3] = [Self::Targets, Self::Snapshot, Self::Timestamp];

    fn info(self) -> WorkerInfo {
        match self {
            Self::Monitor => monitor_worker::WORKER,
            Self::Targets => targets_worker::WORKER,
            Self::Snapshot => snapshot_worker::WORKER,
            Self::Timestamp => timestamp_worker::WORKER,
        }
    }

    fn run(self, context: Context) -> Running {
        match self {
            Self::Monitor => Box::pin(process::host(context, monitor_worker::run)),
            Self::Targets => Box::pin(process::host(context, targets_worker::run)),
            Self::Snapshot => Box::pin(process::host(context, snapshot_worker::run)),
            Self::Timestamp => Box::pin(process::host(context, timestamp_worker::run)),
        }
    }
}

/// Workers hosted by this process. On `memory://` others reach them through the socket in `state_path`, and no second
/// process hosts workers on the same state.
pub struct Embedded {
    broker: Source,
    workers: JoinSet<(&'static str, Result<(), FleetError>)>,
    shutdown: CancellationToken,
    socket: Option<(JoinHandle<()>, CancellationToken)>,
}

enum Source {
    Memory(MemoryBroker),
    Remote(SharedBroker),
}

impl Embedded {
    /// Starts `workers`. Directories that are this machine's own (drop, inbound, state) are made when missing; the
    /// repository is not, so that a missing mount is never taken for a new one.
    ///
    /// # Errors
    /// In production, when another process hosts the fleet already, or when a directory cannot be made.
    pub async fn start(config: &Arc<Config>, workers: &[Hosted]) -> Result<Self, CliError> {
        if config.is_production() {
            return Err(CliError::refused(
                "environment is `production`, where no process may hold the keys of several roles",
            )
            .hint("run one worker per role and set broker_url to the broker between them"));
        }
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        make_dirs(fs.as_ref(), config)?;
        let shutdown = CancellationToken::new();
        let (broker, socket) = if is_memory(config)? {
            let broker = MemoryBroker::new();
            let socket = serve_socket(config, &broker).await?;
            // A task may be sent before its worker listens.
            for worker in workers {
                let queue = TaskQueue::new(worker.info().name).also_bound_to(ADMIN_EXCHANGE);
                let declared = broker.connect().declare_task_queue(&queue).await;
                declared.map_err(|error| CliError::infrastructure(error.to_string()))?;
            }
            (Source::Memory(broker), socket)
        } else {
            let options = config.connect_options(format!("rugged@{}", config.process.instance));
            let broker = connect(&config.process.broker.url, options).await;
            (Source::Remote(broker.map_err(|error| CliError::usage(format!("broker_url: {error}")))?), None)
        };
        let mut embedded = Self { broker, workers: JoinSet::new(), shutdown, socket };
        for worker in workers {
            let info = worker.info();
            let context = Context::new(
                info,
                Arc::clone(config),
                Arc::clone(&fs),
                embedded.connect(),
                Arc::new(SystemClock),
                embedded.shutdown.clone(),
            );
            let running = worker.run(context);
            embedded.workers.spawn(async move { (info.name, running.await) });
        }
        Ok(embedded)
    }

    /// A connection to the broker of the hosted workers.
    #[must_use]
    pub fn connect(&self) -> SharedBroker {
        match &self.broker {
            Source::Memory(broker) => Arc::new(broker.connect()),
            Source::Remote(broker) => Arc::clone(broker),
        }
    }

    /// Waits until a worker ends, which it never should while this waits, and says why it did.
    pub async fn ended(&mut self) -> CliError {
        match self.workers.join_next().await {
            Some(Ok((_, Err(error)))) => error.into(),
            Some(Ok((name, Ok(())))) => CliError::infrastructure(format!("{name} ended without being asked to")),
            Some(Err(error)) => CliError::infrastructure(format!("a hosted worker ended: {error}")),
            None => std::future::pending().await,
        }
    }

    /// Has the workers finish what they do, and ends them. The first thing one of them complained about.
    pub async fn stop(mut self) -> Option<CliError> {
        self.shutdown.cancel();
        let mut complaint = None;
        let finishing = async {
            while let Some(ended) = self.workers.join_next().await {
                let error = match ended {
                    Ok((_, Ok(()))) => continue,
                    Ok((_, Err(error))) => error.into(),
                    Err(error) => CliError::infrastructure(format!("a hosted worker ended: {error}")),
                };
                complaint.get_or_insert(error);
            }
        };
        if tokio::time::timeout(WARM, finishing).await.is_err() {
            complaint.get_or_insert(CliError::infrastructure(format!(
                "the workers did not finish within {} s and were ended; what they did not finish is taken up again",
                WARM.as_secs()
            )));
            self.workers.shutdown().await;
        }
        if let Some((serving, ended)) = self.socket.take() {
            ended.cancel();
            let _ = serving.await;
        }
        if let Source::Remote(broker) = &self.broker {
            let _ = tokio::time::timeout(Duration::from_secs(2), broker.close()).await;
        }
        complaint
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

fn make_dirs(fs: &dyn Fs, config: &Config) -> Result<(), CliError> {
    let dirs = [(&config.state_path, 0o700), (&config.post_to_tuf_path, 0o775), (&config.inbound_targets_path, 0o775)];
    for (dir, mode) in dirs {
        durable::create_dir_all(fs, dir, mode).map_err(|error| {
            CliError::writing(dir, &error)
                .hint("`rugged config` shows which setting names it; another may be given with --set")
        })?;
    }
    Ok(())
}

/// Longest path of a Unix socket, in bytes.
const MAX_SOCKET_PATH: usize = 107;

type Socket = (JoinHandle<()>, CancellationToken);

async fn serve_socket(config: &Config, broker: &MemoryBroker) -> Result<Option<Socket>, CliError> {
    let path = socket_path(config);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        tracing::warn!(path = %path.display(), "the path is too long for a socket: no other process reaches this fleet");
        return Ok(None);
    }
    let server = SocketServer::bind(&path).await.map_err(|error| match error {
        ServeError::InUse { .. } => {
            CliError::refused(format!("another process hosts the fleet of {}", config.state_path.display()))
                .hint("use that one: every other command reaches it by itself")
        }
        error => CliError::infrastructure(error.to_string()),
    })?;
    let ended = CancellationToken::new();
    let serving = tokio::spawn(server.serve(broker.clone(), ended.clone()));
    Ok(Some((serving, ended)))
}
