//! Results: the meta object that a worker stores or sends.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::body::{BodyError, json_body};
use crate::exception::ExceptionInfo;
use crate::json::{self, JsonError};
use crate::limits::Limits;
use crate::message::{Message, delivery_mode};
use crate::time::WireTime;

/// The state of a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// The task is unknown.
    Pending,
    /// A worker has received it.
    Received,
    /// It is running.
    Started,
    /// It succeeded.
    Success,
    /// It failed with an exception.
    Failure,
    /// It will be retried.
    Retry,
    /// It was revoked.
    Revoked,
    /// A worker rejected it.
    Rejected,
    /// Its result is not wanted.
    Ignored,
    /// A state of the task's own, such as `RUNNING`.
    Custom(String),
}

impl State {
    /// The name in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Received => "RECEIVED",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Retry => "RETRY",
            Self::Revoked => "REVOKED",
            Self::Rejected => "REJECTED",
            Self::Ignored => "IGNORED",
            Self::Custom(name) => name,
        }
    }

    /// The state of this name; an unknown name is a custom state.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "PENDING" => Self::Pending,
            "RECEIVED" => Self::Received,
            "STARTED" => Self::Started,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "RETRY" => Self::Retry,
            "REVOKED" => Self::Revoked,
            "REJECTED" => Self::Rejected,
            "IGNORED" => Self::Ignored,
            other => Self::Custom(other.to_owned()),
        }
    }

    /// Whether a client stops waiting in this state.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// Whether a waiting client raises the exception in the result.
    #[must_use]
    pub fn propagates(&self) -> bool {
        matches!(self, Self::Failure | Self::Revoked)
    }

    /// Whether the result is an exception object.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Failure | Self::Revoked | Self::Retry)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message is not a result.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body does not have the form of a result.
    #[error("not a result: {0}")]
    NotAResult(&'static str),
}

impl From<JsonError> for ResultError {
    fn from(error: JsonError) -> Self {
        Self::Body(error.into())
    }
}

/// The state and the result of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultMeta {
    /// The task id.
    pub task_id: String,
    /// Its state.
    pub state: State,
    /// The return value; the exception object if [`State::is_exception`]; otherwise a value of the task's
    /// own choice.
    pub result: Value,
    /// Python's traceback, or any text.
    pub traceback: Option<String>,
    /// The tasks that this one sent, as Python's result tuples; see [`ResultMeta::with_child`].
    pub children: Vec<Value>,
    /// When it reached a final state.
    pub date_done: Option<WireTime>,
    /// The group of which it is a member.
    pub group_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// All other keys, as with `result_extended`.
    pub extra: Map<String, Value>,
}

impl ResultMeta {
    fn new(task_id: &str, state: State, result: Value, date_done: Option<Timestamp>) -> Self {
        Self {
            task_id: task_id.to_owned(),
            state,
            result,
            traceback: None,
            children: Vec::new(),
            date_done: date_done.map(WireTime::from),
            group_id: None,
            parent_id: None,
            extra: Map::new(),
        }
    }

    /// The task returned `result` at `at`.
    #[must_use]
    pub fn success(task_id: &str, result: Value, at: Timestamp) -> Self {
        Self::new(task_id, State::Success, result, Some(at))
    }

    /// The task ended with an exception at `at`.
    #[must_use]
    pub fn failure(task_id: &str, exception: &ExceptionInfo, traceback: Option<String>, at: Timestamp) -> Self {
        Self { traceback, ..Self::new(task_id, State::Failure, exception.to_json(), Some(at)) }
    }

    /// The task was revoked at `at`, before or while it ran.
    #[must_use]
    pub fn revoked(task_id: &str, exception: &ExceptionInfo, at: Timestamp) -> Self {
        Self::new(task_id, State::Revoked, exception.to_json(), Some(at))
    }

    /// The task failed and was sent again, as its own child.
    #[must_use]
    pub fn retry(task_id: &str, exception: &ExceptionInfo, traceback: Option<String>) -> Self {
        let meta = Self { traceback, ..Self::new(task_id, State::Retry, exception.to_json(), None) };
        meta.with_child(task_id)
    }

    /// The task runs in process `pid` on the node `hostname`.
    #[must_use]
    pub fn started(task_id: &str, pid: u32, hostname: &str) -> Self {
        Self::new(task_id, State::Started, json!({"pid": pid, "hostname": hostname}), None)
    }

    /// The task reports progress in a state of its own.
    #[must_use]
    pub fn progress(task_id: &str, state: &str, meta: Value) -> Self {
        Self::new(task_id, State::Custom(state.to_owned()), meta, None)
    }

    /// Sets the group and the parent from the headers of the task.
    #[must_use]
    pub fn with_lineage(mut self, group_id: Option<&str>, parent_id: Option<&str>) -> Self {
        self.group_id = group_id.map(str::to_owned);
        self.parent_id = parent_id.map(str::to_owned);
        self
    }

    /// Adds a task that this one sent.
    #[must_use]
    pub fn with_child(mut self, task_id: &str) -> Self {
        self.children.push(json!([[task_id, null], null]));
        self
    }

    /// The exception, if the state has one and it can be read.
    #[must_use]
    pub fn exception(&self) -> Option<ExceptionInfo> {
        if self.state.is_exception() { ExceptionInfo::from_json(&self.result) } else { None }
    }

    /// The meta object as JSON, keys in Celery's order.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("status", self.state.as_str().into());
        put("result", self.result.clone());
        put("traceback", self.traceback.clone().into());
        put("children", self.children.clone().into());
        put("date_done", self.date_done.as_ref().map(WireTime::as_str).into());
        for (key, value) in [("group_id", &self.group_id), ("parent_id", &self.parent_id)] {
            if let Some(value) = value {
                put(key, value.as_str().into());
            }
        }
        map.extend(self.extra.clone());
        map.insert("task_id".to_owned(), self.task_id.as_str().into());
        map
    }

    /// The text for a result backend.
    #[must_use]
    pub fn to_json_text(&self) -> String {
        if !self.extra.is_empty() {
            return json::object_to_string(&self.to_json());
        }
        // The same without a tree in between, because every task has a result.
        let mut out = String::with_capacity(256);
        let optional = |out: &mut String, text: Option<&str>| match text {
            Some(text) => json::write_text(out, text),
            None => out.push_str("null"),
        };
        out.push_str("{\"status\": ");
        json::write_text(&mut out, self.state.as_str());
        out.push_str(", \"result\": ");
        json::write_value(&mut out, &self.result);
        out.push_str(", \"traceback\": ");
        optional(&mut out, self.traceback.as_deref());
        out.push_str(", \"children\": ");
        json::write_array(&mut out, &self.children);
        out.push_str(", \"date_done\": ");
        optional(&mut out, self.date_done.as_ref().map(WireTime::as_str));
        for (key, value) in [(", \"group_id\": ", &self.group_id), (", \"parent_id\": ", &self.parent_id)] {
            if let Some(value) = value {
                out.push_str(key);
                json::write_text(&mut out, value);
            }
        }
        out.push_str(", \"task_id\": ");
        json::write_text(&mut out, &self.task_id);
        out.push('}');
        out
    }

    /// The message for an `rpc://` client. It goes through the default exchange to the queue in the
    /// task's `reply_to`, without `mandatory`, because the client may have left.
    #[must_use]
    pub fn to_message(&self, correlation_id: &str) -> Message {
        let mut message = Message::json(self.to_json_text().into_bytes(), delivery_mode::TRANSIENT);
        message.properties.correlation_id = Some(correlation_id.to_owned());
        message
    }

    /// Reads a result message of any Celery 5.
    ///
    /// # Errors
    /// See [`ResultError`].
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, ResultError> {
        let correlation_id = message.properties.correlation_id.as_deref();
        Self::from_json(json_body(message, limits)?, correlation_id)
    }

    /// Reads a stored result.
    ///
    /// # Errors
    /// See [`ResultError`].
    pub fn from_slice(bytes: &[u8], limits: &Limits) -> Result<Self, ResultError> {
        Self::from_json(json::parse(bytes, limits)?, None)
    }

    fn from_json(value: Value, correlation_id: Option<&str>) -> Result<Self, ResultError> {
        let Value::Object(mut map) = value else {
            return Err(ResultError::NotAResult("it is not an object"));
        };
        let mut take = |key: &str| map.shift_remove(key).unwrap_or(Value::Null);
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        let state = text(take("status")).ok_or(ResultError::NotAResult("it has no status"))?;
        let task_id = text(take("task_id")).or_else(|| correlation_id.map(str::to_owned));
        Ok(Self {
            task_id: task_id.ok_or(ResultError::NotAResult("it has no task id"))?,
            state: State::from_name(&state),
            result: take("result"),
            traceback: text(take("traceback")),
            children: match take("children") {
                Value::Array(children) => children,
                _ => Vec::new(),
            },
            date_done: text(take("date_done")).as_deref().and_then(WireTime::parse),
            group_id: text(take("group_id")),
            parent_id: text(take("parent_id")),
            extra: map,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_object() {
        let at = Timestamp::UNIX_EPOCH;
        let failure = ExceptionInfo::builtin("ValueError", "nö \"quoted\"");
        let metas = [
            ResultMeta::success("a", json!({"x": [1, 2.5, null], "ü": "\n"}), at),
            ResultMeta::success("b", Value::Null, at).with_lineage(Some("group"), Some("parent")).with_child("c"),
            ResultMeta::failure("d", &failure, Some("Traceback:\n  …".to_owned()), at).with_lineage(None, Some("p")),
            ResultMeta::retry("e", &failure, None),
            ResultMeta::progress("f\u{1f600}", "RUNNING", json!([1])),
            ResultMeta {
                extra: Map::from_iter([("queue".to_owned(), "q".into())]),
                ..ResultMeta::started("g", 7, "h")
            },
        ];
        for meta in metas {
            assert_eq!(meta.to_json_text(), json::object_to_string(&meta.to_json()));
        }
    }
}
