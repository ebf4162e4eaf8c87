//! `redis://`: results under a key, announced on a channel of the same name (`reference §2.3`, `§2.4`).
//!
//! A Python client listens before it sends and waits for the announcement; a stored result that is not announced reaches nobody
//! who calls `.get()`. One script stores and announces, and lets no later word undo a SUCCESS.
//!
//! Chords are counted in the keys of Celery 5.7, so members may run on Python workers of 5.7 and, for what a chord of theirs
//! guarantees, of 5.6. What is better than in Python: whoever finds a chord complete while another holds the claim to publish
//! its body waits for the outcome before its own task is acknowledged. If the holder dies, the body is published by the one
//! that waited, and not by nobody.

mod chord;
mod listener;

use std::{
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use async_trait::async_trait;
use celery_protocol::{
    ExceptionInfo, Limits, ResultMeta, TaskRequest, json,
    redis::{Keys, scripts},
    task::TaskIdentity,
};
use redis::Script;
use serde_json::{Value, json};

use self::{chord::Claims, listener::Listener};
use super::{BackendError, Expectation, ReadyChord, ResultBackend};
use crate::{
    broker::ConnectOptions,
    clock,
    redis::{Redis, RedisUrl, RequestError},
    servers::Servers,
};

static STORE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::STORE));

/// Results in Redis, over a connection of its own that heals itself.
pub struct RedisBackend {
    shared: Arc<Shared>,
    /// Started when the first result is waited for.
    listener: OnceLock<Listener>,
    claims: Claims,
    /// What tasks of this client name as their reply queue; nothing is sent there.
    client: String,
}

pub(super) struct Shared {
    pub redis: Arc<Redis>,
    pub keys: Keys,
    /// Seconds to keep things, 0 for ever.
    pub expires: u64,
    /// Whether the members of a chord are kept in its order, as Celery does unless told otherwise.
    pub chord_ordered: bool,
}

impl RedisBackend {
    /// Starts connecting in the background and returns at once. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(servers: impl Into<Servers<RedisUrl>>, options: ConnectOptions) -> Self {
        let redis = Redis::start(servers.into(), options);
        let (keys, expires) = (Keys::for_results(&redis.url.prefix), redis.url.result_expires.as_secs());
        let chord_ordered = redis.url.chord_ordered;
        let shared = Arc::new(Shared { redis, keys, expires, chord_ordered });
        let client = uuid::Uuid::new_v4().to_string();
        Self { shared, listener: OnceLock::new(), claims: Claims::default(), client }
    }

    /// What is known of a task.
    ///
    /// # Errors
    /// If Redis cannot be reached, or what it holds is no result.
    pub async fn get(&self, task_id: &str) -> Result<Option<ResultMeta>, BackendError> {
        self.shared.get(task_id).await
    }

    /// The connection's state, as it changes.
    #[must_use]
    pub fn connection_state(&self) -> tokio::sync::watch::Receiver<crate::broker::ConnectionState> {
        self.shared.redis.state.subscribe()
    }

    async fn record(&self, task: &TaskIdentity, meta: &ResultMeta) -> Result<bool, BackendError> {
        if task.ignore_result == Some(true) {
            return Ok(false);
        }
        let mut store = STORE.key(self.shared.keys.result(&meta.task_id));
        store.arg(meta.to_json_text()).arg(self.shared.expires);
        let store = &store;
        let stored = self
            .shared
            .redis
            .request(|mut connection, _| async move { store.invoke_async::<i64>(&mut connection).await })
            .await?;
        Ok(stored == 1)
    }
}

impl Shared {
    pub async fn get(&self, task_id: &str) -> Result<Option<ResultMeta>, BackendError> {
        // One byte more than may be, so that a larger one is seen to be too large without being read.
        let mut get = redis::cmd("GETRANGE");
        get.arg(self.keys.result(task_id)).arg(0).arg(Limits::default().body_bytes);
        let get = &get;
        let stored: Vec<u8> =
            self.redis.request(|mut connection, _| async move { get.query_async(&mut connection).await }).await?;
        let stored = (!stored.is_empty()).then_some(stored);
        let read = stored.map(|text| ResultMeta::from_slice(&text, &Limits::default())).transpose();
        read.map_err(|error| BackendError::Refused { reason: error.to_string() })
    }
}

#[async_trait]
impl ResultBackend for RedisBackend {
    fn shown(&self) -> String {
        self.shared.redis.url.info().masked_url()
    }

    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError> {
        match self.record(task, &meta).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!(
                    task.id = meta.task_id,
                    "a result was not stored: not wanted, or the task has succeeded before"
                );
                Ok(())
            }
            Err(error) if error.is_temporary() => Err(error),
            Err(error) => {
                // Storing the same again would be refused again: the caller is told so, if it can be, and the task is over.
                tracing::error!(task.id = meta.task_id, %error, "redis refuses the result");
                let told = ExceptionInfo::builtin(
                    "RuntimeError",
                    format!("the task ended, but its result cannot be stored: {error}"),
                );
                let failure = ResultMeta::failure(&meta.task_id, &told, None, clock::now());
                match self.record(task, &failure).await {
                    Err(error) if error.is_temporary() => Err(error),
                    Err(error) => {
                        tracing::error!(task.id = meta.task_id, %error, "the caller cannot be told");
                        Ok(())
                    }
                    Ok(_) => Ok(()),
                }
            }
        }
    }

    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta) {
        if let Err(error) = self.record(task, &meta).await {
            tracing::debug!(task.id = meta.task_id, %error, "progress could not be reported");
        }
    }

    fn supports_chords(&self) -> bool {
        true
    }

    async fn start_chord(&self, group: &str, size: u64) -> Result<(), BackendError> {
        chord::start(&self.shared, group, size).await
    }

    async fn chord_part(&self, task: &TaskRequest, meta: &ResultMeta) -> Result<Option<ReadyChord>, BackendError> {
        chord::part(&self.shared, &self.claims, task, meta).await
    }

    async fn chord_done(&self, group: &str) -> Result<(), BackendError> {
        chord::done(&self.shared, &self.claims, group).await
    }

    fn reply_to(&self) -> &str {
        &self.client
    }

    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        let listener = self.listener.get_or_init(|| Listener::start(self.shared.clone()));
        listener.expect(task_id).await
    }

    async fn save_group(&self, group: &str, members: &[String]) -> Result<(), BackendError> {
        let members: Vec<Value> = members.iter().map(|id| json!([[id, null], null])).collect();
        let text = json::to_string(&json!({"result": [[group, null], members]}));
        let key = self.shared.keys.group(group);
        let mut save = redis::pipe();
        save.atomic();
        match self.shared.expires {
            0 => save.set(&key, &text).ignore(),
            seconds => save.set_ex(&key, &text, seconds).ignore(),
        };
        save.publish(&key, &text).ignore();
        let save = &save;
        let saved =
            self.shared.redis.request(|mut connection, _| async move { save.query_async::<()>(&mut connection).await });
        Ok(saved.await?)
    }
}

impl From<RequestError> for BackendError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Closed => Self::Closed,
            RequestError::Unavailable { reason, .. } => Self::Unavailable { reason },
            RequestError::Refused { reason } => Self::Refused { reason },
        }
    }
}

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.shared.redis.closed.cancel();
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("redis", &self.shared.redis).finish_non_exhaustive()
    }
}
