//! Builds new tasks.

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::headers::{TaskHeaders, TimeLimit};
use super::request::{Protocol, TaskRequest};
use super::signature::{Embed, Signature};
use crate::message::{CONTENT_ENCODING_UTF8, CONTENT_TYPE_JSON, Properties, delivery_mode};
use crate::time::WireTime;
use crate::value::FieldValue;

/// Builds a new task; see [`TaskRequest::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TaskBuilder {
    request: TaskRequest,
}

impl TaskRequest {
    /// Starts to build a task with this name and id, which may be any text up to 255 bytes.
    pub fn builder(task: impl Into<String>, id: impl Into<String>) -> TaskBuilder {
        TaskBuilder::new(task.into(), id.into())
    }
}

impl TaskBuilder {
    fn new(task: String, id: String) -> Self {
        let properties = Properties {
            content_type: Some(CONTENT_TYPE_JSON.to_owned()),
            content_encoding: Some(CONTENT_ENCODING_UTF8.to_owned()),
            delivery_mode: Some(delivery_mode::PERSISTENT),
            priority: Some(0),
            correlation_id: Some(id.clone()),
            ..Properties::default()
        };
        Self {
            request: TaskRequest {
                headers: TaskHeaders::new(task, id),
                args: Vec::new(),
                kwargs: Map::new(),
                embed: Embed::default(),
                properties,
                protocol: Protocol::V2,
            },
        }
    }

    /// Positional arguments.
    pub fn args(mut self, args: Vec<Value>) -> Self {
        self.request.args = args;
        self
    }

    /// Keyword arguments.
    pub fn kwargs(mut self, kwargs: Map<String, Value>) -> Self {
        self.request.kwargs = kwargs;
        self
    }

    /// The queue of the results.
    pub fn reply_to(mut self, queue: impl Into<String>) -> Self {
        self.request.properties.reply_to = Some(queue.into());
        self
    }

    /// The sending process, as `gen<pid>@<host>`.
    pub fn origin(mut self, pid: u32, host: &str) -> Self {
        self.request.headers.origin = Some(format!("gen{pid}@{host}"));
        self
    }

    /// Priority, 0 unless set.
    pub fn priority(mut self, priority: u8) -> Self {
        self.request.properties.priority = Some(priority);
        self
    }

    /// The earliest time to run it.
    pub fn eta(mut self, at: Timestamp) -> Self {
        self.request.headers.eta = Some(at.into());
        self
    }

    /// The latest time to run it. The broker may silently drop the message after the milliseconds from
    /// `now` until then.
    pub fn expires(mut self, at: Timestamp, now: Timestamp) -> Self {
        let milliseconds = at.duration_since(now).as_millis().max(0);
        self.request.headers.expires = Some(WireTime::from(at));
        self.request.properties.expiration = Some(milliseconds.to_string());
        self
    }

    /// The time limits, in seconds.
    pub fn time_limit(mut self, hard: Option<Number>, soft: Option<Number>) -> Self {
        self.request.headers.timelimit = TimeLimit { hard, soft };
        self
    }

    /// A name to show instead of the task's.
    pub fn shadow(mut self, name: impl Into<String>) -> Self {
        self.request.headers.shadow = Some(name.into());
        self
    }

    /// The first task of the workflow, and the task that sends this one.
    pub fn sent_by(mut self, root_id: impl Into<String>, parent_id: impl Into<String>) -> Self {
        self.request.headers.root_id = Some(root_id.into());
        self.request.headers.parent_id = Some(parent_id.into());
        self
    }

    /// The group of which it is a member, and its place there.
    pub fn group(mut self, id: impl Into<String>, index: i64) -> Self {
        self.request.headers.group = Some(id.into());
        self.request.headers.group_index = Some(index);
        self
    }

    /// Whether the result is not wanted; Python sends `None` for a task it does not know.
    pub fn ignore_result(mut self, ignore: impl Into<Option<bool>>) -> Self {
        self.request.headers.ignore_result = ignore.into();
        self
    }

    /// A header of the caller's own.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.request.headers.extra.insert(name, value);
        self
    }

    /// A stamp, which all tasks sent by this one inherit.
    pub fn stamp(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        let name = name.into();
        self.request.headers.stamped_headers.get_or_insert_default().push(name.clone());
        self.request.headers.stamps.insert(name, value);
        self
    }

    /// The text to show instead of the arguments, which may be secret.
    pub fn reprs(mut self, args: impl Into<String>, kwargs: impl Into<String>) -> Self {
        self.request.headers.argsrepr = Some(args.into());
        self.request.headers.kwargsrepr = Some(kwargs.into());
        self
    }

    /// The task to send with the result when this one succeeds.
    pub fn link(mut self, signature: Signature) -> Self {
        self.request.embed.callbacks.get_or_insert_default().push(signature);
        self
    }

    /// The task to send with this one's id when it fails.
    pub fn link_error(mut self, signature: Signature) -> Self {
        self.request.embed.errbacks.get_or_insert_default().push(signature);
        self
    }

    /// The rest of a chain; the last element runs next.
    pub fn chain(mut self, reversed: Vec<Signature>) -> Self {
        self.request.embed.chain = Some(reversed);
        self
    }

    /// The task.
    #[must_use]
    pub fn build(self) -> TaskRequest {
        self.request
    }
}
