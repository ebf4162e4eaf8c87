//! The monitor as a worker: its tasks, its loop and what it says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celery_runtime::client::{CallError, Client};
use celery_runtime::{Arguments, TaskError};
use fleet::contract::{
    FIND_NEW_TARGETS, FindNewTargets, MONITOR_QUEUE, PAUSE_PROCESSING, Pause, REFRESH_EXPIRY, RESUME_PROCESSING,
    RefreshExpiry, RefreshExpiryResult, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE,
};
use fleet::exceptions::{INFRASTRUCTURE, NOT_READY, exception};
use fleet::{Context, FleetError, WorkerInfo, WorkerRole, tasks};
use service::health::HealthState;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::celery_chain::{CeleryChain, kwargs};
use crate::chain::ChainError;
use crate::cycle::{CycleError, CycleReport, Monitor};
use crate::schedule;
use crate::settings::Settings;
use crate::watch::DropWatch;

/// What this worker is.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: MONITOR_QUEUE,
    role: WorkerRole::Monitor,
    about: "Takes releases out of the drop directory and drives the signing roles; has no keys",
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Callers that may wait for a cycle at once; the rest are told to ask later, so that `ping` and `status` never queue
/// behind them.
const MAX_CALLERS: usize = 16;

/// Runs the worker until `context.shutdown`: the tasks `ping`, `status`, `find-new-targets`, `pause-processing`,
/// `resume-processing` and `refresh-expiry`, and the loop that takes drops in.
///
/// # Errors
/// When the worker cannot be built, or stops serving its queue without being asked to.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let client = Client::new(context.broker.clone()).await?;
    let client = tasks::for_repository(client, &context.config);
    let shared = Arc::new(Shared::new(context.clone(), client));
    let builder = add_tasks(tasks::builder(&context, MONITOR_QUEUE), &shared);
    let shutdown = context.shutdown.clone();
    let watching = tokio::spawn(shared.clone().watch_drops().instrument(context.span.clone()));
    let scheduling = tokio::spawn(shared.clone().keep_schedule().instrument(context.span.clone()));
    let served = tasks::serve(builder, MONITOR_QUEUE, &shutdown).await;
    let watched = watching.await;
    served?;
    scheduling.await.map_err(|source| FleetError::LoopEnded { name: "schedule", source })?;
    watched.map_err(|source| FleetError::LoopEnded { name: "intake", source })
}

fn add_tasks(
    builder: celery_runtime::worker::WorkerBuilder,
    shared: &Arc<Shared>,
) -> celery_runtime::worker::WorkerBuilder {
    let (finding, refreshing) = (shared.clone(), shared.clone());
    let (pausing, resuming) = (shared.clone(), shared.clone());
    builder
        .task(FIND_NEW_TARGETS, move |_, arguments: Arguments| {
            let shared = finding.clone();
            async move {
                arguments.bind_none()?;
                tasks::answer(&shared.find_new_targets().await?)
            }
        })
        .task(PAUSE_PROCESSING, move |task, arguments: Arguments| {
            let shared = pausing.clone();
            async move {
                tasks::operator_only(&task)?;
                let Pause { reason } = arguments.bind(&["reason"])?;
                tasks::answer(&shared.set_paused(true, reason).await?)
            }
        })
        .task(RESUME_PROCESSING, move |task, arguments: Arguments| {
            let shared = resuming.clone();
            async move {
                tasks::operator_only(&task)?;
                let Pause { reason } = arguments.bind(&["reason"])?;
                tasks::answer(&shared.set_paused(false, reason).await?)
            }
        })
        .task(REFRESH_EXPIRY, move |_, arguments: Arguments| {
            let shared = refreshing.clone();
            async move {
                let arguments: RefreshExpiry = arguments.bind(&["force"])?;
                tasks::answer(&shared.refresh_expiry(&arguments).await?)
            }
        })
}

type Caller = oneshot::Sender<Result<FindNewTargets, String>>;

struct Shared {
    context: Context,
    client: Client,
    wake: Arc<Notify>,
    tidy: Arc<Notify>,
    monitor: Mutex<Option<Monitor>>,
    callers: Mutex<Vec<Caller>>,
}

impl Shared {
    fn new(context: Context, client: Client) -> Self {
        // Counters begin at zero: whoever watches does not see how a series begins, so the first rejection would be missed.
        for state in ["published", "rejected"] {
            context.metrics.drops_finished(state, 0);
        }
        Self {
            context,
            client,
            wake: Arc::default(),
            tidy: Arc::default(),
            monitor: Mutex::default(),
            callers: Mutex::default(),
        }
    }

    fn monitor(&self) -> Option<Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a cycle that begins after this call.
    async fn find_new_targets(&self) -> Result<FindNewTargets, TaskError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            callers.retain(|caller| !caller.is_closed());
            if callers.len() >= MAX_CALLERS {
                return Err(exception(NOT_READY, "too many callers wait for the next look at the drop directory"));
            }
            callers.push(sender);
        }
        self.wake.notify_one();
        match receiver.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(problem)) => Err(exception(INFRASTRUCTURE, problem)),
            Err(_) => Err(exception(NOT_READY, "the monitor-worker is stopping")),
        }
    }

    async fn set_paused(&self, paused: bool, reason: Option<String>) -> Result<fleet::contract::Processing, TaskError> {
        let monitor = self.monitor().ok_or_else(|| exception(NOT_READY, "the state directory is not there yet"))?;
        let now = monitor.set_paused(paused, reason).await.map_err(|e| exception(INFRASTRUCTURE, e.to_string()))?;
        tracing::info!(
            paused,
            reason = now.reason.as_deref(),
            "processing {}",
            if paused { "paused" } else { "resumed" }
        );
        self.show(&monitor);
        self.wake.notify_one();
        Ok(now)
    }

    /// Asks every signing role in turn, the one that others vouch for first.
    async fn refresh_expiry(&self, arguments: &RefreshExpiry) -> Result<RefreshExpiryResult, TaskError> {
        let mut all = RefreshExpiryResult { renewed: BTreeMap::new(), bins_renewed: 0 };
        for queue in [TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE] {
            let timeout = self.context.config.task_timeout;
            let answer = self.client.call(queue, REFRESH_EXPIRY, kwargs(arguments), timeout).await;
            let value = answer.map_err(|error| forward(queue, error))?;
            let one: RefreshExpiryResult = serde_json::from_value(value)
                .map_err(|e| exception(INFRASTRUCTURE, format!("{queue} answers with something else: {e}")))?;
            all.renewed.extend(one.renewed);
            all.bins_renewed += one.bins_renewed;
        }
        Ok(all)
    }

    /// Wakes the loop and the cleaning at their times, cleans when woken, and sends the tasks of the configuration.
    async fn keep_schedule(self: Arc<Self>) {
        let context = &self.context;
        let own = schedule::own_work(&context.config, self.wake.clone(), self.tidy.clone());
        let configured = schedule::configured(&context.config, self.client.clone(), context.fs.clone());
        let own = own.run(context.shutdown.clone());
        let sending = async {
            match configured {
                Some(scheduler) => scheduler.run(context.shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let cleaning = async {
            loop {
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = self.tidy.notified() => {}
                }
                let Some(monitor) = self.monitor() else { continue };
                // It only removes what nobody needs; the next start goes on with it.
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = tidy(monitor) => {}
                }
            }
        };
        let (own, sending, ()) = tokio::join!(own, sending, cleaning);
        for outcome in [own, sending] {
            if let Err(error) = outcome {
                tracing::error!(%error, "the schedule cannot be kept");
            }
        }
    }

    /// The loop: a cycle at start, when woken and every scan period, one after another while there is work.
    async fn watch_drops(self: Arc<Self>) {
        let Some(monitor) = self.open().await else {
            return;
        };
        let context = &self.context;
        let config = &context.config;
        let chain = CeleryChain::new(
            self.client.clone(),
            config.task_timeout,
            context.shutdown.clone(),
            context.health.clone(),
        );
        let mut watch = DropWatch::new(self.wake.clone(), config.prefix_case_insensitive);
        let mut last_chain: Option<Instant> = None;
        let mut tidied = false;
        let mut pause = FIRST_PAUSE;
        let mut held = BTreeSet::new();
        while !context.shutdown.is_cancelled() {
            if let Some(last) = last_chain
                && !self.sleep_until(last + config.publish_min_interval).await
            {
                break;
            }
            watch.ensure(&*context.fs, &config.post_to_tuf_path);
            let callers = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
            context.health.progress();
            let started = Instant::now();
            let result = self.cycle(&monitor, &chain).await;
            context.health.progress();
            self.tell(callers, &result);
            self.show(&monitor);
            let at_once = match &result {
                Ok(report) => {
                    pause = FIRST_PAUSE;
                    if report.chain_started {
                        last_chain = Some(started);
                    }
                    self.account(report, started);
                    for (name, reason) in report.held.iter().filter(|(name, _)| !held.contains(name)) {
                        tracing::warn!(drop.name = name, reason, "drop {name} is held back");
                    }
                    held = report.held.iter().map(|(name, _)| name.clone()).collect();
                    context.health.set_state(HealthState::Ready);
                    if !tidied || report.did_something() {
                        tidied = true;
                        self.tidy.notify_one();
                    }
                    report.more
                }
                Err(CycleError::Chain(ChainError::Stopped(_))) => break,
                Err(error) => {
                    context.health.set_state(HealthState::Waiting(error.to_string()));
                    let now = pause;
                    pause = pause.saturating_mul(2).min(config.scheduler_scan_period.max(FIRST_PAUSE));
                    // A new drop heals nothing: only the pause is waited for.
                    if !self.sleep_until(Instant::now() + now).await {
                        break;
                    }
                    true
                }
            };
            if !at_once {
                tokio::select! {
                    () = context.shutdown.cancelled() => {}
                    // By the schedule, the file system, or a caller.
                    () = self.wake.notified() => {}
                }
            }
        }
        // Callers that still wait are told by their senders being dropped.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs a cycle. It waits for the signing roles as long as it takes; meanwhile `status` and the metrics follow the drop
    /// directory.
    async fn cycle(&self, monitor: &Monitor, chain: &CeleryChain) -> Result<CycleReport, CycleError> {
        let period = self.context.config.scheduler_scan_period.max(FIRST_PAUSE);
        let mut cycle = std::pin::pin!(monitor.run_cycle(chain));
        loop {
            tokio::select! {
                biased;
                done = &mut cycle => return done,
                () = tokio::time::sleep(period) => {
                    // A directory that cannot be listed is told by the cycle.
                    let _ = monitor.recount().await;
                    self.show(monitor);
                }
            }
        }
    }

    /// Opens the private state, as often as it takes. `None`: the worker is stopping.
    async fn open(&self) -> Option<Monitor> {
        let context = &self.context;
        let mut pause = FIRST_PAUSE;
        loop {
            let (fs, clock) = (context.fs.clone(), context.clock.clone());
            let settings = Settings::from_config(&context.config);
            let opened = tokio::task::spawn_blocking(move || Monitor::open(fs, clock, settings)).await;
            let problem = match opened {
                Ok(Ok(monitor)) => {
                    let (health, shutdown) = (context.health.clone(), context.shutdown.clone());
                    monitor.on_progress(move || {
                        health.progress();
                        !shutdown.is_cancelled()
                    });
                    *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitor.clone());
                    self.show(&monitor);
                    return Some(monitor);
                }
                Ok(Err(error)) => format!("the state directory cannot be used: {error}"),
                Err(error) => format!("the state directory cannot be used: {error}"),
            };
            context.health.progress();
            context.health.set_state(HealthState::Waiting(problem));
            if !self.sleep_until(Instant::now() + pause).await {
                return None;
            }
            pause = pause.saturating_mul(2).min(context.config.scheduler_scan_period.max(FIRST_PAUSE));
        }
    }

    /// `false` when the worker is stopping.
    async fn sleep_until(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }

    fn tell(&self, callers: Vec<Caller>, result: &Result<CycleReport, CycleError>) {
        for caller in callers {
            let answer = match result {
                Ok(report) => Ok(FindNewTargets {
                    taken: report.taken,
                    published: report.published,
                    rejected: report.rejected,
                    waiting: report.waiting,
                }),
                Err(error) => Err(error.to_string()),
            };
            // A caller that has gone needs no answer.
            let _ = caller.send(answer);
        }
    }

    fn account(&self, report: &CycleReport, started: Instant) {
        let metrics = &self.context.metrics;
        if report.published > 0 {
            metrics.drops_finished("published", report.published);
            metrics.published(report.published, started.elapsed());
        }
        if report.rejected > 0 {
            metrics.drops_finished("rejected", report.rejected);
        }
        if report.published + report.rejected > 0 {
            self.context.health.worked(self.context.clock.now());
        }
    }

    /// Tells `status` and the metrics how things stand.
    fn show(&self, monitor: &Monitor) {
        let (processing, counts) = (monitor.processing(), monitor.counts());
        let metrics = &self.context.metrics;
        metrics.paused(processing.paused);
        for state in ["ready", "processing", "rejected", "held"] {
            metrics.drops(state, counts.get(state).copied().unwrap_or(0));
        }
        metrics.oldest_ready(monitor.oldest_waiting());
        self.context.health.update(|status| {
            status.processing = Some(processing);
            status.drops = counts;
        });
    }
}

async fn tidy(monitor: Monitor) {
    if let Err(error) = monitor.tidy().await {
        tracing::warn!("what is no longer needed cannot be removed now: {error}");
    }
}

/// A failure of another worker, as the same exception; anything else as one of ours.
fn forward(queue: &str, error: CallError) -> TaskError {
    match error {
        CallError::TaskFailed { exc_type, exc_module: Some(module), messages, .. } => {
            let text = messages.first().and_then(|m| m.as_str()).unwrap_or_default();
            TaskError::custom(module, exc_type, format!("{queue}: {text}"))
        }
        other => exception(INFRASTRUCTURE, format!("{queue}: {other}")),
    }
}
