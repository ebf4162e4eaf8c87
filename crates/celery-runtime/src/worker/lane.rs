//! Lanes: tasks that run one at a time, in the order they were delivered.

use std::{pin::Pin, task::Poll};

use celery_protocol::TaskRequest;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use super::{hold::STALE_CHECK_INTERVAL, task_in_hand::TaskInHand, worker_core::WorkerCore};

/// A position in a lane, taken when the task is delivered and granted when its turn comes.
pub(super) type LanePosition = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// Takes a position in the lane of the task, if the task has a lane.
pub(super) async fn join_lane(core: &WorkerCore, task: &TaskRequest) -> Option<LanePosition> {
    let lane = core.tasks.get(task.name())?.lane.clone()?;
    let mut position: LanePosition = Box::pin(lane.acquire_owned());
    // The first poll is what puts it in line.
    match futures_util::poll!(&mut position) {
        Poll::Ready(permit) => Some(Box::pin(std::future::ready(permit))),
        Poll::Pending => Some(position),
    }
}

impl TaskInHand<'_> {
    /// Waits for its turn in the lane; `None` when the worker stops, or when another delivery has replaced this one.
    pub async fn turn(&self, mut position: LanePosition) -> Option<Result<OwnedSemaphorePermit, AcquireError>> {
        while !self.delivery.is_stale() {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                permit = &mut position => return Some(permit),
                () = tokio::time::sleep(STALE_CHECK_INTERVAL) => {}
            }
        }
        None
    }
}
