//! The backend itself.

use std::{
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use async_trait::async_trait;
use celery_protocol::{
    ExceptionInfo, ResultMeta, TaskRequest, json,
    redis::{RedisKeys, scripts},
    task::TaskIdentity,
};
use redis::Script;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    chord::{self, ChordClaims},
    listener::ResultListener,
    results::RedisResults,
};
use crate::{
    backend::{
        error::BackendError,
        expectation::Expectation,
        traits::{ReadyChord, ResultBackend},
    },
    broker::BrokerInfo,
    clock,
    connection::{ConnectOptions, ConnectionState, Servers},
    redis::RedisConnection,
    url::RedisUrl,
};

static STORE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::STORE));

/// Results in Redis, over a connection of its own that repairs itself.
pub struct RedisBackend {
    results: Arc<RedisResults>,
    /// Started for the first expected result.
    listener: OnceLock<ResultListener>,
    claims: ChordClaims,
    /// The reply queue that tasks of this client name; no message is sent there.
    client: String,
}

impl RedisBackend {
    /// Starts connecting in the background and returns immediately. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<RedisUrl>>, options: ConnectOptions) -> Self {
        let redis = RedisConnection::start(servers.into(), options);
        let (keys, expires) = (RedisKeys::for_results(&redis.url.prefix), redis.url.result_expires.as_secs());
        let chord_ordered = redis.url.chord_ordered;
        let results = Arc::new(RedisResults { redis, keys, expires, chord_ordered });
        let client = uuid::Uuid::new_v4().to_string();
        Self { results, listener: OnceLock::new(), claims: ChordClaims::default(), client }
    }

    /// The stored state of a task.
    ///
    /// # Errors
    /// If Redis cannot be reached, or the stored value is not a result.
    pub async fn get(&self, task_id: &str) -> Result<Option<ResultMeta>, BackendError> {
        self.results.get(task_id).await
    }

    /// The connection's state, as it changes.
    #[must_use]
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.results.redis.supervised.state.subscribe()
    }

    async fn record(&self, task: &TaskIdentity, meta: &ResultMeta) -> Result<bool, BackendError> {
        if task.ignore_result == Some(true) {
            return Ok(false);
        }
        let mut store = STORE.key(self.results.keys.result(&meta.task_id));
        store.arg(meta.to_json_text()).arg(self.results.expires);
        let store = &store;
        let stored = self
            .results
            .redis
            .request(|mut connection, _| async move { store.invoke_async::<i64>(&mut connection).await })
            .await?;
        Ok(stored == 1)
    }
}

#[async_trait]
impl ResultBackend for RedisBackend {
    fn shown(&self) -> String {
        BrokerInfo::of_redis(&self.results.redis.url).masked_url()
    }

    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError> {
        match self.record(task, &meta).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!("result not stored: not wanted, or the task has succeeded before");
                Ok(())
            }
            Err(error) if error.is_temporary() => Err(error),
            Err(error) => {
                // The same result would be refused again. So the caller gets a failure instead, if possible, and the task is over.
                tracing::error!(result.id = meta.task_id, %error, "redis refused the result");
                let exception = ExceptionInfo::builtin(
                    "RuntimeError",
                    format!("the task ended, but its result cannot be stored: {error}"),
                );
                let failure = ResultMeta::failure(&meta.task_id, &exception, None, clock::now());
                match self.record(task, &failure).await {
                    Err(error) if error.is_temporary() => Err(error),
                    Err(error) => {
                        tracing::error!(result.id = meta.task_id, %error, "redis refused the failure result too; the caller gets no answer");
                        Ok(())
                    }
                    Ok(_) => Ok(()),
                }
            }
        }
    }

    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta) {
        if let Err(error) = self.record(task, &meta).await {
            tracing::debug!(%error, "progress not reported");
        }
    }

    fn supports_chords(&self) -> bool {
        true
    }

    async fn start_chord(&self, group: &str, size: u64) -> Result<(), BackendError> {
        chord::start(&self.results, group, size).await
    }

    async fn chord_part(&self, task: &TaskRequest, meta: &ResultMeta) -> Result<Option<ReadyChord>, BackendError> {
        chord::part(&self.results, &self.claims, task, meta).await
    }

    async fn chord_done(&self, group: &str) -> Result<(), BackendError> {
        chord::done(&self.results, &self.claims, group).await
    }

    fn reply_to(&self) -> &str {
        &self.client
    }

    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        let listener = self.listener.get_or_init(|| ResultListener::start(self.results.clone()));
        listener.expect(task_id).await
    }

    async fn save_group(&self, group: &str, members: &[String]) -> Result<(), BackendError> {
        let members: Vec<Value> = members.iter().map(|id| json!([[id, null], null])).collect();
        let text = json::to_string(&json!({"result": [[group, null], members]}));
        let key = self.results.keys.group(group);
        let mut save = redis::pipe();
        save.atomic();
        match self.results.expires {
            0 => save.set(&key, &text).ignore(),
            seconds => save.set_ex(&key, &text, seconds).ignore(),
        };
        save.publish(&key, &text).ignore();
        let save = &save;
        let saved = self
            .results
            .redis
            .request(|mut connection, _| async move { save.query_async::<()>(&mut connection).await });
        Ok(saved.await?)
    }
}

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.results.redis.closed().cancel();
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("redis", &self.results.redis).finish_non_exhaustive()
    }
}
