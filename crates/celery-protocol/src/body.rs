//! Reads the JSON body of a message.

use std::borrow::Cow;

use serde_json::Value;

use crate::compression::{self, CompressionError, shorten};
use crate::exception::ExceptionInfo;
use crate::json::{self, JsonError};
use crate::limits::Limits;
use crate::message::{CONTENT_TYPE_JSON, Message};

/// Why the body of a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Only JSON is accepted, as with Celery's default `accept_content`. Pickle is never read.
    #[error("refusing to deserialize content of type {0:?}")]
    ContentDisallowed(String),
    /// The body cannot be inflated.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The body is not JSON within the limits.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl BodyError {
    /// The exception that a Python worker raises for it.
    #[must_use]
    pub fn exception(&self) -> ExceptionInfo {
        let (exc_type, message) = match self {
            Self::ContentDisallowed(content_type) => {
                let alias = alias(content_type);
                let message = format!("Refusing to deserialize untrusted content of type {alias} ({content_type})");
                ("ContentDisallowed", message)
            }
            other => ("DecodeError", other.to_string()),
        };
        ExceptionInfo::new("kombu.exceptions", exc_type, vec![message.into()])
    }
}

/// Reads the JSON body of `message`, inflating it first if it has a `compression` header.
/// A missing content type is read as JSON.
///
/// # Errors
/// See [`BodyError`].
pub fn json_body(message: &Message, limits: &Limits) -> Result<Value, BodyError> {
    if let Some(content_type) = message.properties.content_type.as_deref() {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.is_empty() && !essence.eq_ignore_ascii_case(CONTENT_TYPE_JSON) {
            return Err(BodyError::ContentDisallowed(shorten(content_type)));
        }
    }
    let size = message.body.len();
    if size > limits.body_bytes {
        return Err(JsonError::TooLarge { size, limit: limits.body_bytes }.into());
    }
    let body = match message.headers.get("compression") {
        None => Cow::Borrowed(message.body.as_slice()),
        Some(value) if value.is_void() => Cow::Borrowed(message.body.as_slice()),
        Some(value) => {
            let compression = value.as_str().unwrap_or("?");
            Cow::Owned(compression::decompress(compression, &message.body, limits.body_bytes)?)
        }
    };
    Ok(json::parse(&body, limits)?)
}

/// Kombu's name of a serializer.
fn alias(content_type: &str) -> &str {
    match content_type {
        "application/x-python-serialize" => "pickle",
        "application/x-yaml" => "yaml",
        "application/x-msgpack" => "msgpack",
        other => other,
    }
}
