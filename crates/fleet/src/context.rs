//! The parts a worker of the fleet works with.

use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::Broker;
use durable_fs::Fs;
use service::clock::Clock;
use service::identity::ProcessIdentity;
use service::telemetry;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::config::Config;
use crate::contract::WorkerStatus;
use crate::metrics::FleetMetrics;
use crate::roles::WorkerRole;

/// The version of all workers and of the CLI.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The health of a worker of the fleet.
pub type Health = service::health::WorkerHealth<WorkerStatus>;

/// The name, the role and the purpose of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name, which is also the name of its queue and its program: `targets-worker`.
    pub name: &'static str,
    /// Its role.
    pub role: WorkerRole,
    /// Its purpose, for `--help`.
    pub about: &'static str,
}

/// The configuration, the services and the health of one worker. Clones share them.
#[derive(Clone, Debug)]
pub struct Context {
    /// The worker.
    pub worker: WorkerInfo,
    /// The configuration.
    pub config: Arc<Config>,
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The worker's health.
    pub health: Health,
    /// The worker's metrics.
    pub metrics: FleetMetrics,
    /// Cancelled when the worker has to finish its work in hand and end.
    pub shutdown: CancellationToken,
    /// The span the worker logs in. Spawned tasks must be instrumented with it.
    pub span: Span,
}

/// A loop may be silent for this many of its periods.
const SILENT_PERIODS: u32 = 5;
/// A loop may be silent for this long, however short its period: one piece of work on a slow disk takes long.
const LEAST_SILENCE: Duration = Duration::from_secs(300);

impl Context {
    /// A context for `worker`, with its own health and metrics. For processes that host workers, and for tests.
    #[must_use]
    pub fn new(
        worker: WorkerInfo,
        config: Arc<Config>,
        fs: Arc<dyn Fs>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Self {
        let instance = &config.process.instance;
        let identity = ProcessIdentity::new(worker.name, VERSION, instance);
        let metrics = FleetMetrics::new(&identity);
        let roles = &config.roles;
        // As the worker exports their expiries: targets reads the root, and signs the bins too.
        let own: &[(&'static str, i64)] = match worker.role {
            WorkerRole::Monitor => &[],
            WorkerRole::Targets => &[
                ("root", roles.root.expiry_seconds),
                ("targets", roles.targets.expiry_seconds),
                ("bins", roles.bins.expiry_seconds),
            ],
            WorkerRole::Snapshot => &[("snapshot", roles.snapshot.expiry_seconds)],
            WorkerRole::Timestamp => &[("timestamp", roles.timestamp.expiry_seconds)],
        };
        for (metadata, seconds) in own {
            metrics.role_lifetime(metadata, *seconds);
        }
        let period = config.reconcile_period.max(config.scheduler_scan_period);
        let silence = period.saturating_mul(SILENT_PERIODS).max(LEAST_SILENCE);
        let status = WorkerStatus { role: worker.role.to_string(), ..WorkerStatus::default() };
        let span = telemetry::worker_span(worker.name, instance);
        let health = Health::new(identity, status, silence, metrics.process().clone());
        Self { worker, config, fs, broker, clock, health, metrics, shutdown, span }
    }
}
