//! `refresh-expiry`: the monitor asks every signing role.

use std::collections::BTreeMap;

use celery_runtime::TaskError;
use celery_runtime::client::CallError;
use fleet::WorkerRole;
use fleet::contract::{REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult};
use fleet::exceptions::{INFRASTRUCTURE, REFUSED, exception};

use super::monitor_service::MonitorService;
use crate::celery_chain::kwargs;

impl MonitorService {
    /// Asks every signing role in turn, in the order in which each vouches for the one before.
    ///
    /// # Errors
    /// `force` is refused: the signing roles take it from operators alone, and the monitor is none. Otherwise the failure
    /// of the first role that fails.
    pub(super) async fn refresh_expiry(&self, arguments: &RefreshExpiry) -> Result<RefreshExpiryResult, TaskError> {
        if arguments.force {
            return Err(exception(
                REFUSED,
                "the monitor-worker does not pass `force` on: an operator sends it to the signing workers, as \
                 `rugged refresh-expiry --force` does",
            ));
        }
        let mut all = RefreshExpiryResult { renewed: BTreeMap::new(), bins_renewed: 0 };
        for queue in WorkerRole::SIGNING.map(WorkerRole::queue) {
            let timeout = self.context.config.task_timeout;
            let answer = self.client.call(queue, REFRESH_EXPIRY, kwargs(arguments), timeout).await;
            let value = answer.map_err(|error| forward(queue, error))?;
            let one: RefreshExpiryResult = serde_json::from_value(value).map_err(|error| {
                exception(INFRASTRUCTURE, format!("{queue} answered with an unexpected result: {error}"))
            })?;
            all.renewed.extend(one.renewed);
            all.bins_renewed += one.bins_renewed;
        }
        Ok(all)
    }
}

/// A failure of another worker, as the same exception; any other error as `Infrastructure`.
fn forward(queue: &str, error: CallError) -> TaskError {
    match error {
        CallError::TaskFailed { exc_type, exc_module: Some(module), messages, .. } => {
            let text = messages.first().and_then(|m| m.as_str()).unwrap_or_default();
            TaskError::custom(module, exc_type, format!("{queue}: {text}"))
        }
        other => exception(INFRASTRUCTURE, format!("{queue}: {other}")),
    }
}
