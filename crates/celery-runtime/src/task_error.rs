//! The failure of a task, as its caller gets it.

use std::{fmt, time::Duration};

use serde_json::Value;

/// A task's failure, as the exception a Python caller of `.get()` will see raised. The caller finds the class by module and
/// name, and makes up an unknown class, so any name may be used.
///
/// All of it is sent to the caller: never put a secret or a path of the host into it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskError {
    /// The exception's class name, such as `ValueError`.
    pub exc_type: String,
    /// The module the class is in, such as `builtins`.
    pub exc_module: String,
    /// The arguments of the exception; usually one text.
    pub messages: Vec<Value>,
    /// A traceback or other detail, shown by Python next to the exception.
    pub traceback: Option<Box<str>>,
    /// Whether the task asks for a retry; see [`retry`](Self::retry).
    pub retry: Option<Retry>,
    /// Whether the task ends without an answer; see [`ignore`](Self::ignore) and [`reject`](Self::reject).
    pub unanswered: Option<Unanswered>,
}

/// How a task ends without a result: none is stored and no task that follows is sent, so its caller keeps waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// It is acknowledged (`celery.exceptions.Ignore`).
    Ignored,
    /// It is rejected (`celery.exceptions.Reject`).
    Rejected {
        /// Whether it goes back to its queue, a second later; otherwise the broker drops it, or publishes it to the queue's
        /// dead letter exchange.
        requeue: bool,
    },
}

/// A request of a task to be retried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retry {
    /// How long to wait; as the task's [`RetryPolicy`](crate::worker::RetryPolicy) says if absent.
    pub countdown: Option<Duration>,
    /// The most tries after the first; as the policy says if absent.
    pub max_retries: Option<u32>,
}

impl TaskError {
    /// Any exception, by module and class name.
    #[must_use]
    pub fn custom(module: impl Into<String>, exc_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            exc_type: exc_type.into(),
            exc_module: module.into(),
            messages: vec![Value::String(message.into())],
            traceback: None,
            retry: None,
            unanswered: None,
        }
    }

    /// `builtins.TypeError`: wrong arguments.
    #[must_use]
    pub fn type_error(message: impl Into<String>) -> Self {
        Self::custom("builtins", "TypeError", message)
    }

    /// `builtins.ValueError`: an argument of the right type and a wrong value.
    #[must_use]
    pub fn value_error(message: impl Into<String>) -> Self {
        Self::custom("builtins", "ValueError", message)
    }

    /// `builtins.RuntimeError`: anything else.
    #[must_use]
    pub fn runtime_error(message: impl Into<String>) -> Self {
        Self::custom("builtins", "RuntimeError", message)
    }

    /// The same error, which asks for a retry as the task's policy says; after the last try the caller gets the error.
    #[must_use]
    pub fn retry(self) -> Self {
        self.with_retry(Retry::default())
    }

    /// As [`retry`](Self::retry), after that time.
    #[must_use]
    pub fn retry_in(self, countdown: Duration) -> Self {
        self.with_retry(Retry { countdown: Some(countdown), max_retries: None })
    }

    /// As [`retry`](Self::retry), with these settings.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// `celery.exceptions.Ignore`: the task is over and stores no result, because another task does or no caller waits. A
    /// state reported before stands.
    #[must_use]
    pub fn ignore(reason: impl Into<String>) -> Self {
        Self { unanswered: Some(Unanswered::Ignored), ..Self::custom("celery.exceptions", "Ignore", reason) }
    }

    /// `celery.exceptions.Reject`: this worker does not accept the message. See [`Unanswered::Rejected`].
    #[must_use]
    pub fn reject(reason: impl Into<String>, requeue: bool) -> Self {
        let unanswered = Some(Unanswered::Rejected { requeue });
        Self { unanswered, ..Self::custom("celery.exceptions", "Reject", reason) }
    }

    /// The same error with a traceback.
    #[must_use]
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = Some(traceback.into().into_boxed_str());
        self
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exc_type)?;
        for (index, message) in self.messages.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { ", " })?;
            match message {
                Value::String(text) => f.write_str(text)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for TaskError {}
