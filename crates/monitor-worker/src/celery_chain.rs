//! The chain over Celery tasks: each step is sent until it is answered.

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

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long an answer may still take once the process is stopping: what is nearly done is better done than repeated.
const GRACE: Duration = Duration::from_secs(3);
/// How often a wait shows that it is alive.
const BEAT: Duration = Duration::from_secs(20);

/// The chain over a Celery client.
#[allow(missing_debug_implementations, reason = "a client has nothing to show")]
pub struct CeleryChain {
    client: Client,
    timeout: Duration,
    shutdown: CancellationToken,
    health: Health,
}

impl CeleryChain {
    /// A chain that waits for each answer for `timeout` before it asks again; a task that was not started by then expires.
    pub fn new(client: Client, timeout: Duration, shutdown: CancellationToken, health: Health) -> Self {
        Self { client, timeout, shutdown, health }
    }

    /// Asks until there is an answer that asking again cannot change.
    async fn ask<T: DeserializeOwned>(
        &self,
        queue: &'static str,
        task: &'static str,
        arguments: Map<String, Value>,
    ) -> Result<T, ChainError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let call = self.client.call(queue, task, arguments.clone(), self.timeout);
            let problem = match self.unless_stopped(task, call).await? {
                Ok(value) => match serde_json::from_value(value) {
                    Ok(result) => return Ok(result),
                    Err(e) => format!("{queue} answers {task} with something else: {e}"),
                },
                Err(CallError::Timeout { .. }) => {
                    // The wait was long enough already.
                    pause = Duration::ZERO;
                    format!("{queue} does not answer {task}")
                }
                Err(error) => judge(task, error)?,
            };
            tracing::warn!(task = task, "{problem}; asking again");
            self.health.set_state(HealthState::Waiting(problem));
            self.unless_stopped(task, tokio::time::sleep(pause)).await?;
            pause = pause.saturating_mul(2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
    }

    async fn unless_stopped<F: Future>(&self, task: &'static str, work: F) -> Result<F::Output, ChainError> {
        let mut work = std::pin::pin!(work);
        let mut stopped = std::pin::pin!(async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        });
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut stopped => return Err(ChainError::Stopped(task)),
                () = tokio::time::sleep(BEAT) => self.health.progress(),
            }
        }
    }
}

/// What an error means: `Ok` is a problem of the machine or of the deployment, which passes or is repaired while we ask
/// again; `Err` is an answer.
fn judge(task: &'static str, error: CallError) -> Result<String, ChainError> {
    match &error {
        CallError::TaskFailed { exc_type, exc_module, messages, .. } if exc_module.as_deref() == Some(MODULE) => {
            let text = messages.first().and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
            match exc_type.as_str() {
                BATCH_MISSING => Err(ChainError::BatchMissing(text)),
                // A bug may be set off by what is in a drop: found by halving, like a refusal.
                REFUSED | INTERNAL if task == ADD_TARGETS => Err(ChainError::Failed { task, reason: text }),
                _ => Ok(error.to_string()),
            }
        }
        CallError::Closed => Err(ChainError::Stopped(task)),
        _ => Ok(error.to_string()),
    }
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

    async fn backoff(&self, attempt: u32) -> Result<(), ChainError> {
        let pause = FIRST_PAUSE.saturating_mul(1 << attempt.min(6));
        self.unless_stopped(ADD_TARGETS, tokio::time::sleep(pause.min(LONGEST_PAUSE))).await
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
            let judged = judge(ADD_TARGETS, failed(MODULE, class));
            assert_eq!(judged, Err(ChainError::Failed { task: ADD_TARGETS, reason: "no".into() }));
            assert!(judge(UPDATE_SNAPSHOT, failed(MODULE, class)).is_ok());
        }
        for (module, class) in [
            (MODULE, fleet::exceptions::INFRASTRUCTURE),
            (MODULE, fleet::exceptions::NOT_READY),
            (MODULE, fleet::exceptions::ALARM),
            ("celery.exceptions", "NotRegistered"),
            ("builtins", "TypeError"),
        ] {
            assert!(judge(ADD_TARGETS, failed(module, class)).is_ok(), "{module}.{class}");
        }
        assert_eq!(judge(ADD_TARGETS, failed(MODULE, BATCH_MISSING)), Err(ChainError::BatchMissing("no".into())));
    }
}
