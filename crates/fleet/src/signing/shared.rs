//! One role, shared by the reconcile loop and the tasks of a worker.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use durable_fs::Fs;
use service::clock::Clock;
use service::health::HealthState;
use service::metrics::WorkOutcome;
use tokio::sync::{Mutex, Notify, watch};
use tracing::Span;
use tuf_core::time::UtcTime;

use super::error::{SigningError, SigningErrorKind};
use super::role::{ReconcileOutcome, RoleReport, SigningRole};
use super::skew::SkewProbe;
use crate::metrics::FleetMetrics;
use crate::roles::WorkerRole;
use crate::{Context, Health};

type OpenRole<R> = Box<dyn FnMut() -> Result<R, SigningError> + Send>;

struct RoleSlot<R> {
    role: Option<R>,
    open: OpenRole<R>,
    skew: SkewProbe,
}

impl<R> RoleSlot<R> {
    fn role(&mut self) -> Result<&mut R, SigningError> {
        match &mut self.role {
            Some(role) => Ok(role),
            empty => Ok(empty.insert((self.open)()?)),
        }
    }
}

/// A role shared by the reconcile loop and the tasks of one worker. It does one piece of work at a time, in order of arrival.
pub struct SharedRole<R> {
    slot: Arc<Mutex<RoleSlot<R>>>,
    fs: Arc<dyn Fs>,
    metadata: PathBuf,
    worker_role: WorkerRole,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: FleetMetrics,
    span: Span,
    pub(super) wake: Notify,
    /// The time of the next renewal, as the last work reported it.
    pub(super) renewal: watch::Sender<Option<UtcTime>>,
}

impl<R> fmt::Debug for SharedRole<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRole").field("role", &self.worker_role.as_str()).finish_non_exhaustive()
    }
}

impl<R: SigningRole> SharedRole<R> {
    pub(super) fn new(context: &Context, open: OpenRole<R>) -> Self {
        let skew = SkewProbe::new(context.config.max_clock_skew, context.config.reconcile_period);
        Self {
            fs: context.fs.clone(),
            metadata: context.config.metadata_path(),
            slot: Arc::new(Mutex::new(RoleSlot { role: None, open, skew })),
            worker_role: context.worker.role,
            clock: context.clock.clone(),
            health: context.health.clone(),
            metrics: context.metrics.clone(),
            span: context.span.clone(),
            wake: Notify::new(),
            renewal: watch::Sender::new(None),
        }
    }

    /// Runs `work` on the role, on a thread that may block, after all earlier work. Opens the role when needed. `task` names the
    /// work in metrics and logs. The worker's health shows the outcome; an alarm stays until a reconciliation succeeds. Dropping
    /// the future does not stop work that has begun. After a panic the role is dropped, and opened again for the next work.
    ///
    /// # Errors
    /// The error of `work` or of opening the role.
    pub async fn with<T, F>(&self, task: &'static str, work: F) -> Result<T, SigningError>
    where
        T: Send + 'static,
        F: FnOnce(&mut R, UtcTime) -> Result<T, SigningError> + Send + 'static,
    {
        self.run(task, false, work).await.map(|(value, _)| value)
    }

    /// Reconciles now; with `force` renews everything.
    ///
    /// # Errors
    /// The error of the role.
    pub async fn reconcile(&self, force: bool) -> Result<ReconcileOutcome, SigningError> {
        self.reconcile_and_report("reconcile", force).await.map(|(progress, _)| progress)
    }

    /// Lets the role delete files out of use. Returns whether the next call should follow immediately. Work that arrives
    /// meanwhile waits for one bounded call. A failure is logged and does not change the worker's health.
    pub(super) async fn tidy(&self) -> bool {
        let work = |role: &mut R, now| {
            Ok(role.tidy(now).unwrap_or_else(|error| {
                tracing::warn!(%error, "retention failed; unused files stay for now");
                false
            }))
        };
        self.with("retention", work).await.unwrap_or(false)
    }

    /// The worker's health. Tasks that changed something call [`Health::worked`].
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Makes the loop reconcile immediately instead of at its next turn.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn reconcile_and_report(
        &self,
        task: &'static str,
        force: bool,
    ) -> Result<(ReconcileOutcome, RoleReport), SigningError> {
        let health = self.health.clone();
        let work = move |role: &mut R, now| {
            let progress = role.reconcile(now, force)?;
            if progress.changed {
                health.worked(now);
                tracing::info!(
                    role.version = progress.version,
                    role.renewed = progress.renewed.len(),
                    role.bins_renewed = progress.bins_renewed,
                    "role signed"
                );
            }
            Ok(progress)
        };
        self.run(task, true, work).await
    }

    async fn run<T, F>(&self, task: &'static str, reconciles: bool, work: F) -> Result<(T, RoleReport), SigningError>
    where
        T: Send + 'static,
        F: FnOnce(&mut R, UtcTime) -> Result<T, SigningError> + Send + 'static,
    {
        let mut slot = self.slot.clone().lock_owned().await;
        let (clock, health, span) = (self.clock.clone(), self.health.clone(), self.span.clone());
        let (worker_role, metrics) = (self.worker_role, self.metrics.clone());
        let (fs, metadata, renewal) = (self.fs.clone(), self.metadata.clone(), self.renewal.clone());
        let blocking = tokio::task::spawn_blocking(move || {
            span.in_scope(|| {
                let before = health.settled();
                health.set_state(HealthState::Working);
                let started = Instant::now();
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    slot.skew.check(fs.as_ref(), &metadata, &|| clock.now())?;
                    let role = slot.role()?;
                    let now = clock.now();
                    let value = work(role, now)?;
                    Ok((value, role.report(now)))
                }));
                let outcome = outcome.unwrap_or_else(|panic| {
                    slot.role = None;
                    Err(SigningError::Panicked { task, message: panic_text(panic.as_ref()) })
                });
                health.metrics().task(task, label(outcome.as_ref().err()), started.elapsed());
                if let Ok((_, report)) = &outcome {
                    publish(&health, &metrics, worker_role, report);
                    renewal
                        .send_if_modified(|known| std::mem::replace(known, report.next_renewal) != report.next_renewal);
                }
                health.set_state(state_after(before, outcome.as_ref().err(), reconciles));
                outcome
            })
        });
        blocking.await.unwrap_or_else(|source| Err(SigningError::Aborted { task, source }))
    }
}

fn state_after(before: HealthState, error: Option<&SigningError>, reconciled: bool) -> HealthState {
    let Some(error) = error else {
        return if reconciled || !matches!(before, HealthState::Alarm(_)) { HealthState::Ready } else { before };
    };
    match error.kind() {
        SigningErrorKind::Refused => before,
        SigningErrorKind::Waiting | SigningErrorKind::Infrastructure => HealthState::Waiting(error.to_string()),
        SigningErrorKind::Alarm | SigningErrorKind::Internal => HealthState::Alarm(error.to_string()),
    }
}

fn label(error: Option<&SigningError>) -> WorkOutcome {
    match error.map(SigningError::kind) {
        None => WorkOutcome::Success,
        Some(SigningErrorKind::Waiting) => WorkOutcome::Waiting,
        Some(SigningErrorKind::Alarm) => WorkOutcome::Alarm,
        Some(SigningErrorKind::Infrastructure) => WorkOutcome::Retry,
        Some(SigningErrorKind::Refused) => WorkOutcome::Refused,
        Some(SigningErrorKind::Internal) => WorkOutcome::Panic,
    }
}

fn publish(health: &Health, metrics: &FleetMetrics, role: WorkerRole, report: &RoleReport) {
    if let Some(version) = report.role_version {
        metrics.role_version(role, version);
    }
    if let Some(expires) = report.expires {
        metrics.role_expiry(role.as_str(), expires);
    }
    for (name, expires) in &report.also_expire {
        metrics.role_expiry(name, *expires);
    }
    for (name, value) in &report.floor {
        metrics.floor(name, *value);
    }
    health.update(|status| {
        status.role_version = report.role_version;
        status.expires = report.expires.map(|time| time.to_string());
        status.next_renewal = report.next_renewal.map(|time| time.to_string());
        let named = |(name, expires): (&&str, &UtcTime)| ((*name).to_owned(), expires.to_string());
        status.also_expire = report.also_expire.iter().map(named).collect();
        status.floor = report.floor.clone();
        status.notices = report.notices.clone();
    });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(200).collect()
}
