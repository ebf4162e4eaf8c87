//! Writes task messages, protocol 2.

use super::request::TaskRequest;
use crate::json;
use crate::message::{MAX_SHORT_STRING, Message};
use crate::python::{args_repr, kwargs_repr};

/// Why a task cannot be sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    /// A text is too long for an AMQP short string.
    #[error("{what} is {size} bytes long, at most 255 can be sent")]
    TooLong {
        /// The name of the text.
        what: &'static str,
        /// Its length in bytes.
        size: usize,
    },
    /// The task name or id is empty.
    #[error("{what} is empty")]
    Empty {
        /// The name of the text.
        what: &'static str,
    },
}

impl TaskRequest {
    /// The message to publish, equal to that of Celery 5.7 for the same task. It is never compressed,
    /// even if the message that this task came from was.
    ///
    /// # Errors
    /// If AMQP cannot carry an id, name or property.
    pub fn to_message(&self) -> Result<Message, EncodeError> {
        to_message(self)
    }
}

fn to_message(request: &TaskRequest) -> Result<Message, EncodeError> {
    let (headers, properties) = (&request.headers, &request.properties);
    for (what, text) in [("task name", &headers.task), ("task id", &headers.id)] {
        if text.is_empty() {
            return Err(EncodeError::Empty { what });
        }
        check("task name or id", text)?;
    }
    for (what, text) in [
        ("correlation id", &properties.correlation_id),
        ("reply queue", &properties.reply_to),
        ("expiration", &properties.expiration),
    ] {
        check(what, text.as_deref().unwrap_or_default())?;
    }
    for (name, _) in headers.extra.iter().chain(headers.stamps.iter()) {
        check("header name", name)?;
    }
    let argsrepr = headers.argsrepr.clone().unwrap_or_else(|| args_repr(&request.args));
    let kwargsrepr = headers.kwargsrepr.clone().unwrap_or_else(|| kwargs_repr(&request.kwargs));
    let mut body = String::from("[");
    json::write_array(&mut body, &request.args);
    body.push_str(", ");
    json::write_object(&mut body, &request.kwargs);
    body.push_str(", ");
    json::write_object(&mut body, &request.embed.to_json());
    body.push(']');
    Ok(Message {
        properties: properties.clone(),
        headers: headers.to_table(argsrepr, kwargsrepr),
        body: body.into_bytes(),
    })
}

fn check(what: &'static str, text: &str) -> Result<(), EncodeError> {
    match text.len() {
        size if size > MAX_SHORT_STRING => Err(EncodeError::TooLong { what, size }),
        _ => Ok(()),
    }
}
