//! Reporting: states and results to the result backend, the tasks that follow to the broker.

use std::time::Duration;

use celery_protocol::{ResultMeta, canvas::Plan, task::TaskIdentity};

use super::{context::STATE_TIMEOUT, task_in_hand::TaskInHand};
use crate::{
    backend::BackendError,
    dispatch::{DispatchError, dispatch},
};

/// How often storing a result is tried before the task is requeued.
const STORE_ATTEMPTS: u32 = 4;
/// The wait before a result is stored again; it doubles each time.
const FIRST_STORE_WAIT: Duration = Duration::from_millis(200);

/// Why an outcome cannot be reported now.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl TaskInHand<'_> {
    /// Reports a state that is not final. Best effort, and within a second.
    pub async fn report_state(&self, meta: ResultMeta) {
        let reporting = self.core.backend.progress(&self.identity, meta);
        if tokio::time::timeout(STATE_TIMEOUT, reporting).await.is_err() {
            tracing::debug!("task state not reported in time");
        }
    }

    /// Stores a result, with several attempts: the work is done, and doing it once more would cost more.
    pub async fn store(&self, addressee: &TaskIdentity, meta: &ResultMeta) -> Result<(), BackendError> {
        let mut wait = FIRST_STORE_WAIT;
        let mut attempts = 0;
        loop {
            let error = match self.core.backend.store(addressee, meta.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_temporary() => {
                    tracing::error!(result.id = meta.task_id, %error, "cannot store the result");
                    return Ok(());
                }
                Err(error) => error,
            };
            attempts += 1;
            if attempts >= STORE_ATTEMPTS || self.delivery.is_stale() {
                return Err(error);
            }
            tracing::debug!(result.id = meta.task_id, attempts, %error, "result not stored; trying again");
            tokio::select! {
                () = self.stopping.cancelled() => return Err(error),
                () = tokio::time::sleep(wait) => wait *= 2,
            }
        }
    }

    /// Sends the tasks of a plan.
    pub async fn send(&self, plan: &Plan) -> Result<(), DispatchError> {
        if *plan == Plan::default() {
            return Ok(());
        }
        let (broker, backend) = (self.core.broker.as_ref(), self.core.backend.as_ref());
        Box::pin(dispatch(broker, backend, &self.core.routes, plan.clone())).await
    }

    /// Sends the tasks of a plan that has no one to report a permanent failure to: that is logged and passed over.
    pub async fn send_or_log(&self, plan: &Plan) -> Result<(), DispatchError> {
        match self.send(plan).await {
            Err(error) if !error.is_temporary() => {
                tracing::error!(%error, "cannot send the tasks that follow");
                Ok(())
            }
            other => other,
        }
    }
}
