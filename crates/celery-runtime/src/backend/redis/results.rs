//! The results in Redis.

use std::sync::Arc;

use celery_protocol::{Limits, ResultMeta, redis::RedisKeys};

use crate::{backend::error::BackendError, redis::RedisConnection};

/// The connection, the names of the keys, and how long results are kept.
pub(super) struct RedisResults {
    pub redis: Arc<RedisConnection>,
    pub keys: RedisKeys,
    /// How long results are kept, in seconds; 0 for ever.
    pub expires: u64,
    /// Whether the members of a chord are kept in its order, as Celery does by default.
    pub chord_ordered: bool,
}

impl RedisResults {
    /// The stored state of a task.
    pub async fn get(&self, task_id: &str) -> Result<Option<ResultMeta>, BackendError> {
        // One byte more than allowed, so that a larger value is detected without reading it all.
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
