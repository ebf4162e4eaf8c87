//! The harness of the signing workers: open the role, reconcile, renew, answer tasks.
//!
//! A role is level-triggered: it reconciles at start, every `reconcile_period`, when a renewal is due and when a task
//! asks, with the broker or without.

mod pace;
mod role;
mod shared;
mod skew;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use celery_runtime::Arguments;
use celery_runtime::worker::WorkerBuilder;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::pace::Pace;
use crate::contract::{REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult, UpdateResult};
use crate::{Context, FleetError, tasks};

pub use role::{Progress, RoleError, RoleReport, SigningRole, tidied};
pub use shared::Shared;

/// The first pause after a failure; doubled by each further one, up to `reconcile_period`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Runs a signing worker until `context.shutdown`: the tasks `ping`, `status` and `refresh-expiry`, those that
/// `add_tasks` adds, and the loop that reconciles.
///
/// `open` makes the role; it is called again after a panic, and with a growing pause while it fails.
///
/// # Errors
/// When the worker cannot be built, or stops serving its queue without being asked to.
pub async fn run<R, O, T>(context: Context, queue: &'static str, open: O, add_tasks: T) -> Result<(), FleetError>
where
    R: SigningRole,
    O: FnMut() -> Result<R, RoleError> + Send + 'static,
    T: FnOnce(WorkerBuilder, Arc<Shared<R>>) -> WorkerBuilder,
{
    let shared = Arc::new(Shared::new(&context, Box::new(open)));
    let builder = tasks::builder(&context, queue).task(REFRESH_EXPIRY, {
        let shared = shared.clone();
        move |_, arguments: Arguments| {
            let shared = shared.clone();
            async move {
                let RefreshExpiry { force } = arguments.bind(&["force"])?;
                let (progress, _) = shared.reconcile_and_report(REFRESH_EXPIRY, force).await?;
                tasks::answer(&RefreshExpiryResult { renewed: progress.renewed, bins_renewed: progress.bins_renewed })
            }
        }
    });
    let builder = add_tasks(builder, shared.clone());
    let shutdown = context.shutdown.clone();
    let reconciling = tokio::spawn(keep_reconciled(context.clone(), shared).instrument(context.span.clone()));
    let served = tasks::serve(builder, queue, &shutdown).await;
    let reconciled = reconciling.await;
    served?;
    reconciled.map_err(|source| FleetError::LoopEnded { name: "reconciliation", source })
}

/// The task of a role whose whole work is to reconcile, such as `update-snapshot`: no arguments, an [`UpdateResult`].
pub fn add_update<R: SigningRole>(builder: WorkerBuilder, task: &'static str, shared: Arc<Shared<R>>) -> WorkerBuilder {
    builder.task(task, move |_, arguments: Arguments| {
        let shared = shared.clone();
        async move {
            arguments.bind_none()?;
            let progress = shared.reconcile(false).await?;
            tasks::answer(&UpdateResult { version: progress.version, changed: progress.changed })
        }
    })
}

/// Reconciles at start, when woken, when a renewal is due, and every `reconcile_period`; after a failure sooner.
async fn keep_reconciled<R: SigningRole>(context: Context, shared: Arc<Shared<R>>) {
    let period = context.config.reconcile_period;
    let mut pause = FIRST_PAUSE;
    let mut pace = Pace::new(Instant::now());
    while !context.shutdown.is_cancelled() {
        let next = match shared.reconcile_and_report("reconcile", false).await {
            Ok((_, report)) => {
                pause = FIRST_PAUSE;
                if pace.is_due(Instant::now()) {
                    let more = shared.tidy().await;
                    pace.done(Instant::now(), more);
                }
                let renewal = report.next_renewal.map_or(i64::MAX, |due| due.seconds_since(context.clock.now()));
                // A renewal that is due and was not made is the role's decision; asking without end would not change it.
                period.min(Duration::from_secs(u64::try_from(renewal.max(1)).unwrap_or(1)))
            }
            Err(RoleError::Alarm(_)) => period,
            Err(
                RoleError::Waiting(_) | RoleError::Infrastructure(_) | RoleError::Internal(_) | RoleError::Refused(_),
            ) => {
                let now = pause.min(period);
                pause = pause.saturating_mul(2);
                now
            }
        };
        context.health.progress();
        tokio::select! {
            () = context.shutdown.cancelled() => {}
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}
