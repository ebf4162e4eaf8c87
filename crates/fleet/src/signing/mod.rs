//! The harness of the signing workers: it opens the role, reconciles, renews and answers tasks.
//!
//! A role is level-triggered: it reconciles at start, every `reconcile_period`, when a renewal is due and when a task
//! asks, with the broker or without.

mod error;
mod role;
mod shared;
mod skew;
mod tidy_schedule;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use celery_runtime::Arguments;
use celery_runtime::worker::WorkerBuilder;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::tidy_schedule::TidySchedule;
use crate::contract::{REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult, UpdateResult};
use crate::{Context, FleetError, tasks};

pub use error::{SigningError, SigningErrorKind};
pub use role::{ReconcileOutcome, RoleReport, SigningRole, tidied};
pub use shared::SharedRole;
pub use skew::check_skew;

/// How the refusal of a forced [`REFRESH_EXPIRY`] names it.
const FORCED_REFRESH: &str = "refresh-expiry with `force`";

/// The pause after the first failure. Each further failure doubles it, up to `reconcile_period`.
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Runs a signing worker until `context.shutdown`: the tasks `ping`, `status` and `refresh-expiry`, the tasks of `add_tasks`,
/// and the loop that reconciles.
///
/// `open` opens the role. It is called again after a panic, and with a growing pause while it fails.
///
/// # Errors
/// When the worker cannot be built, or stops serving its queue without being asked to.
pub async fn run<R, O, T>(context: Context, open: O, add_tasks: T) -> Result<(), FleetError>
where
    R: SigningRole,
    O: FnMut() -> Result<R, SigningError> + Send + 'static,
    T: FnOnce(WorkerBuilder, Arc<SharedRole<R>>) -> WorkerBuilder,
{
    let shared = Arc::new(SharedRole::new(&context, Box::new(open)));
    let builder = tasks::builder(&context).task(REFRESH_EXPIRY, {
        let shared = shared.clone();
        move |task, arguments: Arguments| {
            let shared = shared.clone();
            async move {
                let RefreshExpiry { force } = arguments.bind(&["force"])?;
                if force {
                    // Each call writes every role again, a file for each bin.
                    tasks::operator_only_use(&task, FORCED_REFRESH)?;
                }
                let (progress, _) = shared.reconcile_and_report(REFRESH_EXPIRY, force).await?;
                tasks::answer(&RefreshExpiryResult { renewed: progress.renewed, bins_renewed: progress.bins_renewed })
            }
        }
    });
    let builder = add_tasks(builder, shared.clone());
    let reconciling = tokio::spawn(keep_reconciled(context.clone(), shared).instrument(context.span.clone()));
    let served = tasks::serve(&context, builder).await;
    let reconciled = reconciling.await;
    served?;
    reconciled.map_err(|source| FleetError::LoopEnded { name: "reconciliation", source })
}

/// The task of a role whose whole work is to reconcile, such as `update-snapshot`: no arguments, an [`UpdateResult`].
pub fn add_update<R: SigningRole>(
    builder: WorkerBuilder,
    task: &'static str,
    shared: Arc<SharedRole<R>>,
) -> WorkerBuilder {
    builder.task(task, move |_, arguments: Arguments| {
        let shared = shared.clone();
        async move {
            arguments.bind_none()?;
            let progress = shared.reconcile(false).await?;
            let ReconcileOutcome { version, changed, record, snapshot, .. } = progress;
            tasks::answer(&UpdateResult { version, changed, record, snapshot })
        }
    })
}

/// Reconciles at start, when woken, when a renewal is due, and every `reconcile_period`; after a failure sooner.
async fn keep_reconciled<R: SigningRole>(context: Context, shared: Arc<SharedRole<R>>) {
    let period = context.config.reconcile_period;
    let mut pause = FIRST_RETRY_PAUSE;
    let mut tidying = TidySchedule::new(Instant::now());
    let mut renewals = shared.renewal.subscribe();
    while !context.shutdown.is_cancelled() {
        renewals.mark_unchanged();
        let (longest, mut renewal) = match shared.reconcile_and_report("reconcile", false).await {
            Ok((_, report)) => {
                pause = FIRST_RETRY_PAUSE;
                if tidying.is_due(Instant::now()) {
                    let more = shared.tidy().await;
                    tidying.done(Instant::now(), more);
                }
                (period, report.next_renewal)
            }
            Err(error) if error.kind() == SigningErrorKind::Alarm => (period, None),
            Err(_) => {
                let now = pause.min(period);
                pause = pause.saturating_mul(2);
                (now, None)
            }
        };
        context.health.progress();
        let until = Instant::now() + longest;
        loop {
            let left = renewal.map_or(i64::MAX, |due| due.seconds_since(context.clock.now()));
            // A due renewal that was not made is the role's decision. Asking again immediately would not change it.
            let renewing = Duration::from_secs(u64::try_from(left.max(1)).unwrap_or(1));
            let next = until.min(Instant::now() + longest.min(renewing));
            tokio::select! {
                () = context.shutdown.cancelled() => break,
                () = shared.wake.notified() => break,
                () = tokio::time::sleep_until(next) => break,
                // A task has signed meanwhile, and its work may have to be renewed before this loop would look.
                Ok(()) = renewals.changed() => renewal = *renewals.borrow_and_update(),
            }
        }
    }
}
