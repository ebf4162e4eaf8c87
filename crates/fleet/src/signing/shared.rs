//! The role behind its lock.

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
use tokio::sync::{Mutex, Notify};
use tracing::Span;
use tuf_core::time::UtcTime;

use super::skew::SkewProbe;
use super::{Progress, RoleError, RoleReport, SigningRole};
use crate::metrics::FleetMetrics;
use crate::roles::WorkerRole;
use crate::{Context, Health};

type Open<R> = Box<dyn FnMut() -> Result<R, RoleError> + Send>;

struct Slot<R> {
    role: Option<R>,
    open: Open<R>,
    skew: SkewProbe,
}

impl<R> Slot<R> {
    fn role(&mut self) -> Result<&mut R, RoleError> {
        match &mut self.role {
            Some(role) => Ok(role),
            empty => Ok(empty.insert((self.open)()?)),
        }
    }
}

/// A role shared by the loop and the tasks of one worker. One piece of work at a time, in the order of arrival.
pub struct Shared<R> {
    slot: Arc<Mutex<Slot<R>>>,
    fs: Arc<dyn Fs>,
    metadata: PathBuf,
    worker_role: WorkerRole,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: FleetMetrics,
    span: Span,
    pub(super) wake: Notify,
}

impl<R> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("role", &self.worker_role.as_str()).finish_non_exhaustive()
    }
}

impl<R: SigningRole> Shared<R> {
    pub(super) fn new(context: &Context, open: Open<R>) -> Self {
        let skew = SkewProbe::new(context.config.max_clock_skew, context.config.reconcile_period);
        Self {
            fs: context.fs.clone(),
            metadata: context.config.metadata_path(),
            slot: Arc::new(Mutex::new(Slot { role: None, open, skew })),
            worker_role: context.worker.role,
            clock: context.clock.clone(),
            health: context.health.clone(),
            metrics: context.metrics.clone(),
            span: context.span.clone(),
            wake: Notify::new(),
        }
    }

    /// Runs `work` on the role (opening it when needed) on a thread that may block, after all work that came before.
    /// `task` names it in metrics and logs. The outcome shows in the worker's health: an alarm stays until a
    /// reconciliation succeeds. Dropping the future does not stop work that has begun. After a panic the role is
    /// dropped and opened anew for the next piece of work.
    ///
    /// # Errors
    /// What `work` or opening the role said.
    pub async fn with<T, F>(&self, task: &'static str, work: F) -> Result<T, RoleError>
    where
        T: Send + 'static,
        F: FnOnce(&mut R, UtcTime) -> Result<T, RoleError> + Send + 'static,
    {
        self.run(task, false, work).await.map(|(value, _)| value)
    }

    /// Reconciles now, renewing everything when `force` is set.
    ///
    /// # Errors
    /// What the role said.
    pub async fn reconcile(&self, force: bool) -> Result<Progress, RoleError> {
        self.reconcile_and_report("reconcile", force).await.map(|(progress, _)| progress)
    }

    /// Lets the role delete what is out of use; whether there is more to do at once. Work that arrives meanwhile waits
    /// for a bounded stretch of it. A failure is logged and says nothing of the role's health.
    pub(super) async fn tidy(&self) -> bool {
        let work = |role: &mut R, now| {
            Ok(role.tidy(now).unwrap_or_else(|error| {
                tracing::warn!("files that are out of use stay for now: {error}");
                false
            }))
        };
        self.with("retention", work).await.unwrap_or(false)
    }

    /// What the worker says of itself; [`Health::worked`] is for tasks that changed something.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Makes the loop reconcile at once instead of at its next turn.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn reconcile_and_report(
        &self,
        task: &'static str,
        force: bool,
    ) -> Result<(Progress, RoleReport), RoleError> {
        let health = self.health.clone();
        let work = move |role: &mut R, now| {
            let progress = role.reconcile(now, force)?;
            if progress.changed {
                health.worked(now);
                tracing::info!(
                    role.version = progress.version,
                    role.renewed = progress.renewed.len(),
                    role.bins_renewed = progress.bins_renewed,
                    "reconciled, now at version {}",
                    progress.version
                );
            }
            Ok(progress)
        };
        self.run(task, true, work).await
    }

    async fn run<T, F>(&self, task: &'static str, reconciles: bool, work: F) -> Result<(T, RoleReport), RoleError>
    where
        T: Send + 'static,
        F: FnOnce(&mut R, UtcTime) -> Result<T, RoleError> + Send + 'static,
    {
        let mut slot = self.slot.clone().lock_owned().await;
        let (clock, health, span) = (self.clock.clone(), self.health.clone(), self.span.clone());
        let (worker_role, metrics) = (self.worker_role, self.metrics.clone());
        let (fs, metadata) = (self.fs.clone(), self.metadata.clone());
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
                    Err(RoleError::Internal(format!("{task} panicked: {}", panic_text(panic.as_ref()))))
                });
                health.metrics().task(task, label(outcome.as_ref().err()), started.elapsed());
                if let Ok((_, report)) = &outcome {
                    publish(&health, &metrics, worker_role, report);
                }
                health.set_state(state_after(before, outcome.as_ref().err(), reconciles));
                outcome
            })
        });
        blocking.await.unwrap_or_else(|error| Err(RoleError::Internal(format!("{task}: {error}"))))
    }
}

fn state_after(before: HealthState, error: Option<&RoleError>, reconciled: bool) -> HealthState {
    match error {
        None if reconciled || !matches!(before, HealthState::Alarm(_)) => HealthState::Ready,
        None | Some(RoleError::Refused(_)) => before,
        Some(RoleError::Waiting(detail) | RoleError::Infrastructure(detail)) => HealthState::Waiting(detail.clone()),
        Some(RoleError::Alarm(detail) | RoleError::Internal(detail)) => HealthState::Alarm(detail.clone()),
    }
}

fn label(error: Option<&RoleError>) -> WorkOutcome {
    match error {
        None => WorkOutcome::Success,
        Some(RoleError::Waiting(_)) => WorkOutcome::Waiting,
        Some(RoleError::Alarm(_)) => WorkOutcome::Alarm,
        Some(RoleError::Infrastructure(_)) => WorkOutcome::Retry,
        Some(RoleError::Refused(_)) => WorkOutcome::Refused,
        Some(RoleError::Internal(_)) => WorkOutcome::Panic,
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
        status.floor = report.floor.clone();
    });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(200).collect()
}
