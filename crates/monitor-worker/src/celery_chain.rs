//! The chain over Celery tasks: each step is sent until there is an answer.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use celery_runtime::client::{CallError, Client};
use fleet::Health;
use fleet::contract::{
    ADD_TARGETS, AddTargets, AddTargetsResult, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE, UPDATE_SNAPSHOT,
    UPDATE_TIMESTAMP, UpdateResult,
};
use fleet::exceptions::{BATCH_MISSING, INTERNAL, MODULE, REFUSED};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use service::health::HealthState;
use tokio_util::sync::CancellationToken;

use crate::chain::{Chain, ChainError};
use crate::not_visible::NotVisible;

const FIRST_STEP_RETRY: Duration = Duration::from_millis(200);
const LONGEST_STEP_RETRY: Duration = Duration::from_secs(15);
/// How long an answer may still take once the process is stopping: a step that is nearly done need not be repeated.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How often a wait reports progress to the health check.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(20);

/// Why a step is repeated: a fault of the machine or of the deployment, which passes or is repaired meanwhile.
#[derive(Debug, thiserror::Error)]
enum StepProblem {
    #[error("{queue} answered {task} with an unexpected result: {source}")]
    UnexpectedResult { queue: &'static str, task: &'static str, source: serde_json::Error },
    #[error("{queue} does not answer {task}")]
    Timeout { queue: &'static str, task: &'static str },
    #[error(transparent)]
    Call(CallError),
}

/// The chain over a Celery client.
#[allow(missing_debug_implementations, reason = "a client has nothing to show")]
pub struct CeleryChain {
    client: Client,
    timeout: Duration,
    shutdown: CancellationToken,
    health: Health,
}

impl CeleryChain {
    /// A chain that waits up to `timeout` for each answer before it asks again; a task that was not started by then expires.
    pub fn new(client: Client, timeout: Duration, shutdown: CancellationToken, health: Health) -> Self {
        Self { client, timeout, shutdown, health }
    }

    /// Asks until there is a result, or an error that asking again cannot change.
    async fn ask<T: DeserializeOwned>(
        &self,
        queue: &'static str,
        task: &'static str,
        arguments: Map<String, Value>,
    ) -> Result<T, ChainError> {
        let mut pause = FIRST_STEP_RETRY;
        loop {
            let call = self.client.call(queue, task, arguments.clone(), self.timeout);
            let problem = match self.unless_stopped(task, call).await? {
                Ok(value) => match serde_json::from_value(value) {
                    Ok(result) => return Ok(result),
                    Err(source) => StepProblem::UnexpectedResult { queue, task, source },
                },
                Err(CallError::Timeout { .. }) => {
                    // The wait for the answer was long enough.
                    pause = Duration::ZERO;
                    StepProblem::Timeout { queue, task }
                }
                Err(error) => match final_answer(task, &error) {
                    Some(answer) => return Err(answer),
                    None => StepProblem::Call(error),
                },
            };
            tracing::warn!(step = task, error = %problem, retry_in_ms = millis(pause), "chain step failed; retrying");
            self.health.set_state(HealthState::Waiting(problem.to_string()));
            self.unless_stopped(task, tokio::time::sleep(pause)).await?;
            pause = pause.saturating_mul(2).clamp(FIRST_STEP_RETRY, LONGEST_STEP_RETRY);
        }
    }

    async fn unless_stopped<F: Future>(&self, task: &'static str, work: F) -> Result<F::Output, ChainError> {
        let mut work = std::pin::pin!(work);
        let mut stopped = std::pin::pin!(async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        });
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut stopped => return Err(ChainError::Stopped(task)),
                () = tokio::time::sleep(PROGRESS_INTERVAL) => self.health.progress(),
            }
        }
    }
}

/// The error that ends a step, if asking again cannot change it; `None` for a fault of the machine or of the deployment.
fn final_answer(task: &'static str, error: &CallError) -> Option<ChainError> {
    match error {
        CallError::TaskFailed { exc_type, exc_module, messages, .. } if exc_module.as_deref() == Some(MODULE) => {
            let text = messages.first().and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
            match exc_type.as_str() {
                BATCH_MISSING => Some(ChainError::BatchMissing(text)),
                // A drop may trigger a bug. It is found by halving, like a refusal.
                REFUSED | INTERNAL if task == ADD_TARGETS => Some(ChainError::Failed { task, reason: text }),
                _ => None,
            }
        }
        CallError::Closed => Some(ChainError::Stopped(task)),
        _ => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Chain for CeleryChain {
    async fn add_targets(&self, batch: &str) -> Result<AddTargetsResult, ChainError> {
        let arguments = AddTargets { batch: Some(batch.to_owned()), targets: None };
        self.ask(TARGETS_QUEUE, ADD_TARGETS, kwargs(&arguments)).await
    }

    async fn update_snapshot(&self) -> Result<UpdateResult, ChainError> {
        self.ask(SNAPSHOT_QUEUE, UPDATE_SNAPSHOT, Map::new()).await
    }

    async fn update_timestamp(&self) -> Result<UpdateResult, ChainError> {
        self.ask(TIMESTAMP_QUEUE, UPDATE_TIMESTAMP, Map::new()).await
    }

    async fn wait_until_visible(&self, reason: &NotVisible, attempt: u32) -> Result<(), ChainError> {
        tracing::warn!(%reason, attempt, "batch not visible to clients yet; asking again");
        self.health.set_state(HealthState::Waiting(reason.to_string()));
        self.backoff(attempt).await
    }

    async fn backoff(&self, attempt: u32) -> Result<(), ChainError> {
        let pause = FIRST_STEP_RETRY.saturating_mul(1 << attempt.min(6));
        self.unless_stopped(ADD_TARGETS, tokio::time::sleep(pause.min(LONGEST_STEP_RETRY))).await
    }
}

/// A task's arguments as keyword arguments.
pub(crate) fn kwargs<T: Serialize>(arguments: &T) -> Map<String, Value> {
    match serde_json::to_value(arguments) {
        Ok(Value::Object(map)) => map,
        // The arguments of the contract are structs of plain fields.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(module: &str, class: &str) -> CallError {
        CallError::TaskFailed {
            task: ADD_TARGETS.into(),
            exc_type: class.into(),
            exc_module: Some(module.into()),
            messages: vec!["no".into()],
            traceback: None,
        }
    }

    #[test]
    fn only_refusals_and_bugs_of_add_targets_speak_against_a_drop() {
        for class in [REFUSED, INTERNAL] {
            let answer = final_answer(ADD_TARGETS, &failed(MODULE, class));
            assert_eq!(answer, Some(ChainError::Failed { task: ADD_TARGETS, reason: "no".into() }));
            assert_eq!(final_answer(UPDATE_SNAPSHOT, &failed(MODULE, class)), None);
        }
        for (module, class) in [
            (MODULE, fleet::exceptions::INFRASTRUCTURE),
            (MODULE, fleet::exceptions::NOT_READY),
            (MODULE, fleet::exceptions::ALARM),
            ("celery.exceptions", "NotRegistered"),
            ("builtins", "TypeError"),
        ] {
            assert_eq!(final_answer(ADD_TARGETS, &failed(module, class)), None, "{module}.{class}");
        }
        let missing = final_answer(ADD_TARGETS, &failed(MODULE, BATCH_MISSING));
        assert_eq!(missing, Some(ChainError::BatchMissing("no".into())));
    }
}
