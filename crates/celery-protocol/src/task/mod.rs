//! Task messages: what is asked of a worker.

mod build;
mod decode;
mod encode;
mod error;
mod headers;
mod signature;

pub use build::TaskBuilder;
pub use encode::EncodeError;
pub use error::{DecodeError, Rejection, TaskIdentity};
pub use headers::{TaskHeaders, TimeLimit};
pub use signature::{Embed, Signature};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::limits::Limits;
use crate::message::{Message, Properties};
use crate::time::WireTime;

/// The form a task message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Everything in one JSON object, no headers. Read only.
    V1,
    /// Headers, and a body like that of protocol 1. Read only.
    Hybrid,
    /// Headers, and a body of `[args, kwargs, embed]`.
    V2,
}

/// A task to run, whichever form it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRequest {
    /// Everything said about the task in headers.
    pub headers: TaskHeaders,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
    /// What is to follow.
    pub embed: Embed,
    /// Message properties, as received or to be sent.
    pub properties: Properties,
    /// The form it was read from; [`TaskRequest::to_message`] always writes protocol 2.
    pub protocol: Protocol,
}

impl TaskRequest {
    /// Starts a new task with its name and an id, which may be any text up to 255 bytes.
    pub fn builder(task: impl Into<String>, id: impl Into<String>) -> TaskBuilder {
        TaskBuilder::new(task.into(), id.into())
    }

    /// Reads a task message of any form.
    ///
    /// # Errors
    /// A [`Rejection`] with the reason and whatever is known about whom to answer.
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, Box<Rejection>> {
        decode::decode(message, limits)
    }

    /// The message to publish, equal to what Celery 5.7 sends for the same task. It is never
    /// compressed, whatever the message was that this task came from.
    ///
    /// # Errors
    /// An id, name or property AMQP cannot carry.
    pub fn to_message(&self) -> Result<Message, EncodeError> {
        encode::to_message(self)
    }

    /// The task id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.headers.id
    }

    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.headers.task
    }

    /// The id of the first task of the workflow; its own when it says nothing else.
    #[must_use]
    pub fn root_id(&self) -> &str {
        self.headers.root_id.as_deref().unwrap_or(&self.headers.id)
    }

    /// The queue an `rpc://` result goes to.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.properties.reply_to.as_deref().filter(|queue| !queue.is_empty())
    }

    /// The correlation id results carry: the message's, else the task id.
    #[must_use]
    pub fn correlation_id(&self) -> &str {
        self.properties.correlation_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.headers.id)
    }

    /// Whether the sender said that it does not want the result.
    #[must_use]
    pub fn ignores_result(&self) -> bool {
        self.headers.ignore_result.unwrap_or(false)
    }

    /// Whether the task expired at or before `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.headers.expires.as_ref().is_some_and(|expires| expires.timestamp() <= now)
    }

    /// Whether a Redis broker restored the message after a worker lost it. On AMQP the delivery
    /// itself says so.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.headers.extra.get("redelivered").and_then(|flag| flag.as_i64()).is_some_and(|flag| flag != 0)
    }

    /// Whom a result of this task concerns.
    #[must_use]
    pub fn identity(&self) -> TaskIdentity {
        TaskIdentity {
            id: Some(self.headers.id.clone()),
            task: Some(self.headers.task.clone()),
            reply_to: self.reply_to().map(str::to_owned),
            correlation_id: Some(self.correlation_id().to_owned()),
            group: self.headers.group.clone(),
            parent_id: self.headers.parent_id.clone(),
            ignore_result: self.headers.ignore_result,
        }
    }

    /// The same task to be tried again: same id, one more retry, its own parent, at `eta` or at
    /// once. The expiration property is kept as it was; the `expires` header is what counts.
    #[must_use]
    pub fn retried(&self, eta: Option<Timestamp>) -> Self {
        let mut next = self.clone();
        next.headers.retries = next.headers.retries.saturating_add(1);
        next.headers.eta = eta.map(WireTime::from);
        next.headers.parent_id = Some(self.headers.id.clone());
        next.headers.extra.remove("redelivered");
        next
    }
}
