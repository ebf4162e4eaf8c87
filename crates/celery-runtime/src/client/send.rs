//! How a task is sent.

use std::time::Duration;

use celery_protocol::Signature;
use serde_json::{Map, Number, Value};

/// Options of [`Client::send`](super::Client::send); the default is what Celery's `send_task` does.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The task id; a random UUID if absent. Sending again under the same id is how a task is asked for once more.
    pub task_id: Option<String>,
    /// After this the task is not started any more, but answered by the worker with REVOKED.
    pub expires_in: Option<Duration>,
    /// Whether the broker may drop an expired task unread, without an answer: for callers that have given up by then.
    pub drop_expired: bool,
    /// Not to be started before this has passed.
    pub countdown: Option<Duration>,
    /// Not to be started before; `countdown` wins.
    pub eta: Option<jiff::Timestamp>,
    /// A task for later waits in the broker, by Celery's native delayed delivery ([`celery_protocol::delayed`]), and not in a
    /// worker's hands: for queues whose workers have set it up, as Celery does for quorum queues. RabbitMQ only; where it was
    /// not set up, sending fails with `Unroutable`.
    pub delayed: bool,
    /// The exchange to publish to instead of the default one; the routing key stays the queue's name.
    pub exchange: Option<String>,
    /// Further headers, which the handler finds in its context.
    pub headers: Map<String, Value>,
    /// No result is wanted.
    pub ignore_result: bool,
    /// What monitoring shows instead of the positional and keyword arguments.
    pub shown_as: Option<(String, String)>,
    /// The larger, the sooner on RabbitMQ; the other way round on Redis.
    pub priority: u8,
    /// How long it may run, in seconds: the hard and the soft limit.
    pub time_limits: (Option<Number>, Option<Number>),
    /// Marks that are handed on to everything the task sends.
    pub stamps: Map<String, Value>,
    /// Compress the body, by Celery's name of a compression: `gzip`, `zlib` or `bzip2`.
    pub compression: Option<String>,
    /// Sent with the result when the task succeeds.
    pub link: Vec<Signature>,
    /// Sent with the task's id when it fails.
    pub link_error: Vec<Signature>,
}
