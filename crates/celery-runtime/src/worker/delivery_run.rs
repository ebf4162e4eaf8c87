//! One delivery, from the queue to its settlement.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use celery_protocol::{ExceptionInfo, Limits, Rejection, ResultMeta, TaskRequest, WireTime};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    handler::RegisteredTask,
    hold::HoldReason,
    lane::{LanePosition, join_lane},
    redelivered::EarlierRun,
    registry::{TaskEvent, TaskEventKind, TaskTracker},
    requeue::{log_unsettled, requeue},
    results::RevokeReason,
    run_handler::HandlerResult,
    run_table::RunGuard,
    settlement::Settlement,
    span,
    task_in_hand::TaskInHand,
    worker_core::WorkerCore,
};
use crate::{broker::Delivery, clock};

/// A delivery and the content of its message.
pub(super) struct DeliveryRun {
    core: Arc<WorkerCore>,
    delivery: Arc<Delivery>,
    content: DeliveryContent,
    stopping: CancellationToken,
    cancelled: CancellationToken,
}

enum DeliveryContent {
    NotATask(Box<Rejection>),
    Task(Arc<TaskRequest>, TaskTracker, Option<LanePosition>),
}

/// How a delivery is settled, and the guard that marks its run as under way until it is.
struct Decision<'a> {
    settlement: Settlement,
    run: Option<RunGuard<'a>>,
}

impl From<Settlement> for Decision<'_> {
    fn from(settlement: Settlement) -> Self {
        Self { settlement, run: None }
    }
}

impl DeliveryRun {
    /// Reads the task and takes its position in its lane, so that exclusive tasks run in the order they were delivered.
    pub async fn new(
        core: Arc<WorkerCore>,
        delivery: Arc<Delivery>,
        stopping: CancellationToken,
        cancelled: CancellationToken,
    ) -> Self {
        let content = match TaskRequest::decode(&delivery.message, &Limits::default()) {
            Err(rejection) => DeliveryContent::NotATask(rejection),
            Ok(task) => {
                let position = match task.headers.eta {
                    None => join_lane(&core, &task).await,
                    // It takes its position when its time comes.
                    Some(_) => None,
                };
                let task = Arc::new(task);
                let tracker = core.registry.receive(task.clone(), &delivery);
                DeliveryContent::Task(task, tracker, position)
            }
        };
        Self { core, delivery, content, stopping, cancelled }
    }

    /// The span to run it in.
    pub fn span(&self) -> Span {
        match &self.content {
            DeliveryContent::NotATask(rejection) => span::refused_message(rejection),
            DeliveryContent::Task(task, ..) => span::task(task),
        }
    }

    /// Runs the task and settles the delivery.
    pub async fn run(self) {
        let Self { core, delivery, content, stopping, cancelled } = self;
        match content {
            DeliveryContent::NotATask(rejection) => refuse(&core, &delivery, &rejection, &stopping).await,
            DeliveryContent::Task(task, tracker, position) => {
                let mut identity = task.identity();
                if identity.ignore_result.is_none() {
                    identity.ignore_result = core.tasks.get(task.name()).map(|known| known.options.ignore_result);
                }
                let in_hand = TaskInHand {
                    core: &core,
                    delivery: &delivery,
                    task: &task,
                    tracker: &tracker,
                    identity,
                    stopping: &stopping,
                    cancelled: &cancelled,
                };
                in_hand.event(TaskEventKind::Received);
                let Decision { settlement, run } = in_hand.decide(position).await;
                match settlement {
                    Settlement::Report(outcome) => in_hand.settle(outcome).await,
                    Settlement::Reject { reason, requeue } => in_hand.reject(&reason, requeue).await,
                    Settlement::AckRepublished => log_unsettled(delivery.ack().await),
                    Settlement::Leave => {}
                }
                drop(run);
            }
        }
    }
}

/// Rejects a message that is not a task. Its sender gets a failure if the message says where to send it.
async fn refuse(core: &WorkerCore, delivery: &Delivery, rejection: &Rejection, stopping: &CancellationToken) {
    tracing::warn!(error = %rejection.error, "message rejected: not a task");
    if let Some(failure) = rejection.failure(clock::now())
        && let Err(error) = core.backend.store(&rejection.identity, failure).await
        && error.is_temporary()
    {
        return requeue(&core.counters, delivery, &error, stopping).await;
    }
    core.counters.rejected.fetch_add(1, Relaxed);
    if let Some(id) = rejection.identity.id.clone() {
        let kind = TaskEventKind::Rejected { requeue: false };
        core.registry.events.send(|| TaskEvent { id, task: None, at: clock::now(), kind });
    }
    log_unsettled(delivery.reject(false).await);
}

impl<'a> TaskInHand<'a> {
    /// Runs the task if it is to run, and decides how its delivery is settled.
    async fn decide(&self, position: Option<LanePosition>) -> Decision<'a> {
        let registered = match self.accept() {
            Ok(registered) => registered,
            Err(refused) => return refused.into(),
        };
        if !self.may_have_run() {
            self.core.runs.forget(&self.run_id());
        } else if let EarlierRun::Decides(settlement, run) = self.earlier_run().await {
            return Decision { settlement, run };
        }
        let _turn = match self.wait_to_start(position).await {
            Ok(turn) => turn,
            Err(settlement) => return settlement.into(),
        };
        let run = self.core.runs.begin(self.run_id(), self.delivery.clone());
        if registered.options.track_started.unwrap_or(self.core.track_started) {
            self.report_state(ResultMeta::started(self.task.id(), std::process::id(), &self.core.name)).await;
        }
        self.event(TaskEventKind::Started);
        let result = self.run_handler(registered).await;
        Decision { settlement: self.evaluate(registered, result), run: Some(run) }
    }

    /// The handler of the task; an error refuses the task.
    fn accept(&self) -> Result<&'a RegisteredTask, Settlement> {
        // First, because a task that is refused for another reason sends its errbacks.
        if self.has_too_many_follow_ups() {
            tracing::warn!("task refused: too many tasks follow it");
            self.core.counters.failed.fetch_add(1, Relaxed);
            let text = format!("more than {} tasks follow this one; it was not run", self.core.max_follow_ups);
            return Err(self.failed_alone(&ExceptionInfo::builtin("NotImplementedError", text)).into());
        }
        let Some(registered) = self.core.tasks.get(self.task.name()) else {
            tracing::warn!("task refused: no handler is registered for its name");
            return Err(self.refused(&ExceptionInfo::not_registered(self.task.name())).into());
        };
        if let Err(error) = self.check_follow_ups() {
            tracing::warn!(%error, "task refused");
            let exception = ExceptionInfo::builtin("NotImplementedError", format!("{error}; it was not run"));
            return Err(self.refused(&exception).into());
        }
        if let (Some(longest), Some(eta)) = (self.core.max_eta, self.eta())
            && eta.duration_since(clock::now()) > longest.try_into().unwrap_or(SignedDuration::MAX)
        {
            tracing::warn!(%eta, "task refused: it is for later");
            self.core.counters.failed.fetch_add(1, Relaxed);
            let text = "this worker takes no tasks for later (eta, countdown): send the task when it is to run";
            return Err(self.failed(&ExceptionInfo::builtin("NotImplementedError", text), None).into());
        }
        Ok(registered)
    }

    fn eta(&self) -> Option<Timestamp> {
        self.task.headers.eta.as_ref().map(WireTime::timestamp)
    }

    /// Waits for the task's `eta`, its turn and its rate limit; the permit is its turn in its lane. An error settles a task
    /// that does not start.
    async fn wait_to_start(&self, position: Option<LanePosition>) -> Result<Option<OwnedSemaphorePermit>, Settlement> {
        if let Some(eta) = self.eta().filter(|_| self.core.max_eta.is_none()) {
            self.tracker.waits_until(eta);
            self.hold(HoldReason::Eta(eta)).await?;
        }
        self.tracker.waits_its_turn();
        let position = match position {
            Some(position) => Some(position),
            None => join_lane(self.core, self.task).await,
        };
        let turn = match position {
            None => None,
            Some(position) => match self.turn(position).await {
                Some(permit) => permit.ok(),
                None => return Err(Settlement::Leave),
            },
        };
        if let Some(bucket) = self.core.registry.bucket(self.task.name()) {
            self.hold(HoldReason::RateLimit(&bucket)).await?;
        }
        // Checked last, because the wait may have been long.
        if let Some(reason) = self.is_over() {
            tracing::info!(reason = reason.as_str(), "task not run");
            return Err(self.revoked(reason).into());
        }
        if self.stopping.is_cancelled() {
            return Err(Settlement::Leave);
        }
        // A second copy may have been delivered on a new channel while this one waited.
        if self.delivery.is_stale() {
            tracing::debug!("task not run: its connection has ended, and the broker redelivers it");
            return Err(Settlement::Leave);
        }
        Ok(turn)
    }

    /// Why the task must not run any more.
    fn is_over(&self) -> Option<RevokeReason> {
        if self.task.is_expired(clock::now()) {
            self.core.counters.expired.fetch_add(1, Relaxed);
            Some(RevokeReason::Expired)
        } else if self.core.registry.is_revoked(self.task) {
            self.core.counters.revoked.fetch_add(1, Relaxed);
            Some(RevokeReason::Revoked)
        } else {
            None
        }
    }

    fn evaluate(&self, registered: &RegisteredTask, result: HandlerResult) -> Settlement {
        match result {
            HandlerResult::Returned(Ok(value), runtime) => self.succeeded(value, runtime).into(),
            HandlerResult::Returned(Err(error), _) => self.handler_failed(registered, error),
            HandlerResult::HardTimeLimit(limit) => {
                self.core.counters.failed.fetch_add(1, Relaxed);
                self.failed(&ExceptionInfo::time_limit_exceeded(limit), None).into()
            }
            HandlerResult::Terminated => {
                tracing::info!("task terminated");
                self.core.counters.revoked.fetch_add(1, Relaxed);
                self.revoked(RevokeReason::Terminated).into()
            }
            HandlerResult::Stopped => {
                self.event(TaskEventKind::Cancelled);
                Settlement::Leave
            }
        }
    }
}
