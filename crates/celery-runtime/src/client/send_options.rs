//! The options of a task to be sent.

use std::time::Duration;

use celery_protocol::Signature;
use serde_json::{Map, Number, Value};

/// Options of [`Client::send`](super::Client::send); the default is what Celery's `send_task` does.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The task id; a random UUID if absent. Sending a task again under the same id asks for the same task.
    pub task_id: Option<String>,
    /// After this time the task is not started any more; the worker answers it with REVOKED.
    pub expires_in: Option<Duration>,
    /// Whether the broker may drop an expired task without an answer: for callers that have given up by then.
    pub drop_expired: bool,
    /// The task is not started before this time has passed.
    pub countdown: Option<Duration>,
    /// The task is not started before this time; `countdown` wins.
    pub eta: Option<jiff::Timestamp>,
    /// A delayed task waits in the broker, by Celery's native delayed delivery ([`celery_protocol::delayed`]), and not in a
    /// worker: for queues whose workers have set it up, as Celery does for quorum queues. RabbitMQ only; where it was not set
    /// up, sending fails with `Unroutable`.
    pub delayed: bool,
    /// The exchange to publish to instead of the default one; the routing key stays the queue's name.
    pub exchange: Option<String>,
    /// Further headers, which the handler reads in its context.
    pub headers: Map<String, Value>,
    /// No result is wanted.
    pub ignore_result: bool,
    /// The texts that monitors show instead of the positional and keyword arguments.
    pub shown_as: Option<(String, String)>,
    /// On RabbitMQ a larger number comes first; on Redis a smaller one.
    pub priority: u8,
    /// Its hard and soft time limit, in seconds.
    pub time_limits: (Option<Number>, Option<Number>),
    /// Stamps, which every task that this task sends inherits.
    pub stamps: Map<String, Value>,
    /// The compression of the body, by Celery's name: `gzip`, `zlib` or `bzip2`.
    pub compression: Option<String>,
    /// Sent with the result when the task succeeds.
    pub link: Vec<Signature>,
    /// Sent with the task's id when it fails.
    pub link_error: Vec<Signature>,
}
