//! How a task is sent.

use std::time::Duration;

use serde_json::{Map, Value};

/// Options of [`Client::send`](super::Client::send); the default is what Celery's `send_task` does.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The task id; a random UUID if absent. Sending again under the same id is how a task is asked for once more.
    pub task_id: Option<String>,
    /// After this the task is not started any more: dropped by the broker, or answered by the worker with REVOKED.
    pub expires_in: Option<Duration>,
    /// Not to be started before this has passed.
    pub countdown: Option<Duration>,
    /// The exchange to publish to instead of the default one; the routing key stays the queue's name.
    pub exchange: Option<String>,
    /// Further headers, which the handler finds in its context.
    pub headers: Map<String, Value>,
    /// No result is wanted.
    pub ignore_result: bool,
    /// What monitoring shows instead of the positional and keyword arguments.
    pub shown_as: Option<(String, String)>,
}
