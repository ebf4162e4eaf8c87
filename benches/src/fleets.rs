//! The four workers with a repository of their own: in this process over `memory://`, or as processes over RabbitMQ.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_runtime::broker::memory::MemoryBroker;
use durable_fs::RealFs;
use fleet::Health;
use fleet::{Config, Context, FleetError, WorkerInfo, process};
use service::clock::SystemClock;
use service::health::probe;
use testkit::servers::VHost;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{Result, repository};

/// The signing workers, then the monitor.
pub const WORKERS: [WorkerInfo; 4] =
    [targets_worker::WORKER, snapshot_worker::WORKER, timestamp_worker::WORKER, monitor_worker::WORKER];

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);

/// A fleet, whatever it is made of.
pub trait Fleet {
    /// Its configuration; keys and state of separate processes are elsewhere.
    fn config(&self) -> &Config;
    /// Starts a worker.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&mut self, worker: WorkerInfo) -> Result<()>;
    /// Whether a worker that was started can do its job.
    fn is_ready(&self, worker: WorkerInfo) -> bool;

    /// Starts workers and waits until they are ready.
    ///
    /// # Errors
    /// When one does not get ready within a minute.
    fn start_all(&mut self, workers: &[WorkerInfo]) -> Result<()> {
        for worker in workers {
            self.start(*worker)?;
        }
        for worker in workers {
            self.wait_ready(*worker)?;
        }
        Ok(())
    }

    /// Waits until a worker is ready.
    ///
    /// # Errors
    /// When it does not get ready within a minute.
    fn wait_ready(&self, worker: WorkerInfo) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.is_ready(worker) {
            if Instant::now() > until {
                return Err(format!("{} does not get ready", worker.name).into());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Workers in this process.
#[derive(Debug)]
pub struct Embedded {
    config: Arc<Config>,
    broker: MemoryBroker,
    shutdown: CancellationToken,
    runtime: Option<Runtime>,
    health: BTreeMap<&'static str, Health>,
}

impl Embedded {
    /// A new repository in `dir`; no worker runs yet.
    ///
    /// # Errors
    /// Whatever went wrong.
    pub fn new(dir: &Path) -> Result<Self> {
        let config = Config::beneath(dir).set("environment", "testing").build()?;
        repository::initialize(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self {
            config: Arc::new(config),
            broker: MemoryBroker::new(),
            shutdown: CancellationToken::new(),
            runtime: Some(runtime),
            health: BTreeMap::new(),
        })
    }
}

impl Fleet for Embedded {
    fn config(&self) -> &Config {
        &self.config
    }

    fn start(&mut self, worker: WorkerInfo) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Err("the fleet has ended".into()) };
        let _entered = runtime.enter();
        let context = Context::new(
            worker,
            Arc::clone(&self.config),
            Arc::new(RealFs),
            Arc::new(self.broker.connect()),
            Arc::new(SystemClock),
            self.shutdown.clone(),
        );
        self.health.insert(worker.name, context.health.clone());
        runtime.spawn(async move {
            let ended: Result<(), FleetError> = match worker.name {
                name if name == targets_worker::WORKER.name => process::host(context, targets_worker::run).await,
                name if name == snapshot_worker::WORKER.name => process::host(context, snapshot_worker::run).await,
                name if name == timestamp_worker::WORKER.name => process::host(context, timestamp_worker::run).await,
                _ => process::host(context, monitor_worker::run).await,
            };
            if let Err(error) = ended {
                eprintln!("{} ended: {error}", worker.name);
            }
        });
        Ok(())
    }

    fn is_ready(&self, worker: WorkerInfo) -> bool {
        self.health.get(worker.name).is_some_and(|health| health.missing().is_empty())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Workers as processes of their own, each with its own key and state.
#[derive(Debug)]
pub struct Processes {
    dir: PathBuf,
    config: Config,
    vhost: VHost,
    running: BTreeMap<&'static str, Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    health: SocketAddr,
}

impl Processes {
    /// A new repository in `dir`; no worker runs yet.
    ///
    /// # Errors
    /// Whatever went wrong.
    pub fn new(dir: &Path, vhost: VHost) -> Result<Self> {
        let config = Config::beneath(dir).set("environment", "testing").build()?;
        repository::initialize(&config)?;
        for worker in WORKERS {
            let private = dir.join(worker.name);
            std::fs::create_dir_all(private.join("state"))?;
            std::fs::create_dir_all(private.join("keys"))?;
            if let Some(role) = worker.role.key_role() {
                std::fs::rename(config.signing_keys_of(role), private.join("keys").join(role.as_str()))?;
            }
        }
        Ok(Self { dir: dir.to_owned(), config, vhost, running: BTreeMap::new() })
    }

    /// Ends a worker and waits for it.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self, worker: WorkerInfo) -> Result<()> {
        if let Some(mut running) = self.running.remove(worker.name) {
            running.child.kill()?;
            running.child.wait()?;
        }
        Ok(())
    }

    /// Resident memory of a worker in MiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn rss_mib(&self, worker: WorkerInfo) -> Result<f64> {
        let running = self.running.get(worker.name).ok_or("it does not run")?;
        crate::child::memory_kib(&running.child.id().to_string(), "VmRSS:").map(|kib| kib as f64 / 1024.0)
    }
}

impl Fleet for Processes {
    fn config(&self) -> &Config {
        &self.config
    }

    fn start(&mut self, worker: WorkerInfo) -> Result<()> {
        let health = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let private = self.dir.join(worker.name);
        let settings = [
            ("environment", "testing".into()),
            ("broker_url", self.vhost.amqp_url.clone()),
            ("health_address", health.to_string()),
            ("log_level", "warn".into()),
            ("post_to_tuf_path", self.config.post_to_tuf_path.display().to_string()),
            ("inbound_targets_path", self.config.inbound_targets_path.display().to_string()),
            ("repo_path", self.config.repo_path.display().to_string()),
            ("verification_keys_path", self.config.verification_keys_path.display().to_string()),
            ("signing_keys_path", private.join("keys").display().to_string()),
            ("state_path", private.join("state").display().to_string()),
        ];
        let mut command = Command::new(binary(worker.name)?);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(settings.map(|(key, value)| (format!("RUGGED_{}", key.to_uppercase()), value)));
        let child = command.spawn().map_err(|error| format!("{}: {error}", worker.name))?;
        self.running.insert(worker.name, Running { child, health });
        Ok(())
    }

    fn is_ready(&self, worker: WorkerInfo) -> bool {
        let running = self.running.get(worker.name);
        running.is_some_and(|running| probe(running.health, "/readyz").is_ok_and(|answer| answer.is_ok()))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for worker in WORKERS {
            let _ = self.kill(worker);
        }
    }
}

/// A worker's binary: beside this one, unless `TUF_FLEET_TEST_BIN` says where.
pub fn binary(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("TUF_FLEET_TEST_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_exe()?.parent().ok_or("this program has no directory")?.to_owned(),
    };
    let path = dir.join(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: build it first", path.display()).into()) }
}
