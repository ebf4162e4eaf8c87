//! Exceptions in results.

use serde_json::{Map, Value, json};

use crate::python;

/// The object in `result` of a FAILURE, RETRY or REVOKED meta.
///
/// A Python client looks for `exc_type` in the module `exc_module` if that module is loaded, and
/// otherwise creates a class of that name. For a name that is not an exception class the client
/// raises a `SecurityError`, so choose names with care.
#[derive(Debug, Clone, PartialEq)]
pub struct ExceptionInfo {
    /// The name of the class, with dots if nested.
    pub exc_type: String,
    /// The module of the class; with `None` the client creates a class.
    pub exc_module: Option<String>,
    /// The arguments with which the client calls the class.
    pub exc_message: Vec<Value>,
}

impl ExceptionInfo {
    /// An exception of class `exc_type` in `exc_module` with these arguments.
    #[must_use]
    pub fn new(exc_module: &str, exc_type: &str, exc_message: Vec<Value>) -> Self {
        Self { exc_type: exc_type.to_owned(), exc_module: Some(exc_module.to_owned()), exc_message }
    }

    /// An exception of Python's own, such as `ValueError`, with one text argument.
    #[must_use]
    pub fn builtin(exc_type: &str, message: impl Into<String>) -> Self {
        Self::new("builtins", exc_type, vec![Value::String(message.into())])
    }

    /// The worker has no task of this name.
    #[must_use]
    pub fn not_registered(task: &str) -> Self {
        Self::new("celery.exceptions", "NotRegistered", vec![task.into()])
    }

    /// The task was discarded; Celery's reasons are `expired`, `revoked` and `terminated`.
    #[must_use]
    pub fn task_revoked(reason: &str) -> Self {
        Self::new("celery.exceptions", "TaskRevokedError", vec![reason.into()])
    }

    /// The task rejected itself.
    #[must_use]
    pub fn reject(reason: &str, requeue: bool) -> Self {
        Self::new("celery.exceptions", "Reject", vec![reason.into(), requeue.into()])
    }

    /// The hard time limit, in seconds, ended the task.
    #[must_use]
    pub fn time_limit_exceeded(limit: serde_json::Number) -> Self {
        Self::new("billiard.exceptions", "TimeLimitExceeded", vec![Value::Number(limit)])
    }

    /// The soft time limit ended the task.
    #[must_use]
    pub fn soft_time_limit_exceeded() -> Self {
        Self::new("billiard.exceptions", "SoftTimeLimitExceeded", vec![])
    }

    /// The process or thread that ran the task has ended.
    #[must_use]
    pub fn worker_lost(message: impl Into<String>) -> Self {
        Self::new("billiard.exceptions", "WorkerLostError", vec![Value::String(message.into())])
    }

    /// Celery cannot run the message as a task.
    #[must_use]
    pub fn invalid_task(message: impl Into<String>) -> Self {
        Self::new("celery.exceptions", "InvalidTaskError", vec![Value::String(message.into())])
    }

    /// The object as JSON, keys in Celery's order.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "exc_type": self.exc_type,
            "exc_message": self.exc_message,
            "exc_module": self.exc_module,
        })
    }

    /// Reads the object, from any Celery 5: `exc_message` may be a list of arguments or one
    /// argument, `exc_module` may be missing. `None` without an `exc_type`.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let object: &Map<String, Value> = value.as_object()?;
        let exc_message = match object.get("exc_message") {
            Some(Value::Array(arguments)) => arguments.clone(),
            None | Some(Value::Null) => Vec::new(),
            Some(single) => vec![single.clone()],
        };
        Some(Self {
            exc_type: object.get("exc_type")?.as_str()?.to_owned(),
            exc_module: object.get("exc_module").and_then(Value::as_str).map(str::to_owned),
            exc_message,
        })
    }

    /// Python's `repr` of the exception, as events and logs show it: `ValueError('boom')`.
    #[must_use]
    pub fn repr(&self) -> String {
        let arguments: Vec<String> = self.exc_message.iter().map(python::repr).collect();
        let name = self.exc_type.rsplit('.').next().unwrap_or_default();
        format!("{name}({})", arguments.join(", "))
    }
}

/// The class and Python's `str`: `ValueError: boom`.
impl std::fmt::Display for ExceptionInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.exc_type)?;
        match self.exc_message.as_slice() {
            [] => Ok(()),
            [Value::String(text)] => write!(f, ": {text}"),
            [single] => write!(f, ": {}", python::repr(single)),
            several => {
                let arguments: Vec<String> = several.iter().map(python::repr).collect();
                write!(f, ": ({})", arguments.join(", "))
            }
        }
    }
}

impl std::error::Error for ExceptionInfo {}
