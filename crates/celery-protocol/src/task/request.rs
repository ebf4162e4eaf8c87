//! A task to run.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::TaskIdentity;
use super::headers::TaskHeaders;
use super::signature::Embed;
use crate::message::Properties;
use crate::time::WireTime;

/// The form of a task message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Everything in one JSON object, no headers. Read only.
    V1,
    /// Headers, and a body like that of protocol 1. Read only.
    Hybrid,
    /// Headers, and a body of `[args, kwargs, embed]`.
    V2,
}

/// A task to run, from a message of any form.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRequest {
    /// The headers of the task.
    pub headers: TaskHeaders,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
    /// The tasks that follow this one.
    pub embed: Embed,
    /// Message properties, as received or to be sent.
    pub properties: Properties,
    /// The form of the message it was read from; [`TaskRequest::to_message`] always writes protocol 2.
    pub protocol: Protocol,
}

impl TaskRequest {
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

    /// The id of the first task of the workflow; its own if the message names none.
    #[must_use]
    pub fn root_id(&self) -> &str {
        self.headers.root_id.as_deref().unwrap_or(&self.headers.id)
    }

    /// The queue of the `rpc://` result.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.properties.reply_to.as_deref().filter(|queue| !queue.is_empty())
    }

    /// The correlation id of the results: the message's, or else the task id.
    #[must_use]
    pub fn correlation_id(&self) -> &str {
        self.properties.correlation_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.headers.id)
    }

    /// Whether the sender does not want the result.
    #[must_use]
    pub fn ignores_result(&self) -> bool {
        self.headers.ignore_result.unwrap_or(false)
    }

    /// Whether the task expired at or before `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.headers.expires.as_ref().is_some_and(|expires| expires.timestamp() <= now)
    }

    /// Whether the message was requeued on Redis after a worker lost it. On AMQP the delivery itself
    /// has this flag.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.headers.extra.get("redelivered").and_then(|flag| flag.as_i64()).is_some_and(|flag| flag != 0)
    }

    /// The ids under which a result of this task is sent.
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

    /// The same task for a retry: same id, one more retry, itself as parent, at `eta` or immediately.
    /// The expiration property stays; the `expires` header decides.
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
