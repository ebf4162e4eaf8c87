//! What a worker is given.

use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::Broker;
use durable_fs::Fs;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::Config;
use crate::clock::Clock;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::telemetry;

/// The version all workers and the CLI carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name, which is its queue's and its binary's: `targets-worker`.
    pub name: &'static str,
    /// Its role: `monitor`, `targets`, `snapshot`, `timestamp`.
    pub role: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
}

/// Everything a worker works with. Clones share it.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the worker is.
    pub worker: WorkerInfo,
    /// The configuration.
    pub config: Arc<Config>,
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the worker says of itself.
    pub health: Health,
    /// The worker's metrics.
    pub metrics: Metrics,
    /// Cancelled when the worker is to finish what it does and end.
    pub shutdown: CancellationToken,
    /// The span the worker logs in; spawned tasks have to be put into it.
    pub span: Span,
}

/// A loop may be silent for this many of its periods.
const SILENT_PERIODS: u32 = 5;
/// However short its period, a loop may be silent for this long: one piece of work on a slow disk takes its time.
const LEAST_SILENCE: Duration = Duration::from_secs(300);

impl Context {
    /// A context for `worker`, with health and metrics of its own. For processes that host workers, and for tests.
    #[must_use]
    pub fn new(
        worker: WorkerInfo,
        config: Arc<Config>,
        fs: Arc<dyn Fs>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Self {
        let metrics = Metrics::new(worker.name, VERSION, &config.instance);
        let period = config.reconcile_period.max(config.scheduler_scan_period);
        let silence = period.saturating_mul(SILENT_PERIODS).max(LEAST_SILENCE);
        let health = Health::new(worker.name, worker.role, VERSION, &config.instance, silence, metrics.clone());
        let span = telemetry::worker_span(worker.name, &config.instance);
        Self { worker, config, fs, broker, clock, health, metrics, shutdown, span }
    }
}
