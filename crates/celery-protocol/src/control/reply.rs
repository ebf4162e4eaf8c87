//! Answers of workers.

use serde_json::{Map, Value};

use super::ControlError;
use crate::body::json_body;
use crate::json;
use crate::limits::Limits;
use crate::message::{Message, delivery_mode};
use crate::value::FieldValue;

/// `{"ok": text}`.
#[must_use]
pub fn ok(text: impl Into<String>) -> Value {
    single("ok", text.into())
}

/// `{"error": text}`; for an exception, its `repr`.
#[must_use]
pub fn error(text: impl Into<String>) -> Value {
    single("error", text.into())
}

fn single(key: &str, text: String) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), Value::String(text))]))
}

/// One worker's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlReply {
    /// The worker's node name.
    pub node: String,
    /// The answer.
    pub value: Value,
    /// The ticket of the request.
    pub ticket: Option<String>,
    /// The worker's Lamport clock.
    pub clock: u64,
}

impl ControlReply {
    /// The message Celery 5.7 sends for it.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let body = Map::from_iter([(self.node.clone(), self.value.clone())]);
        let mut message = Message::json(json::object_to_string(&body).into_bytes(), delivery_mode::TRANSIENT);
        message.headers.insert("ticket", self.ticket.clone());
        message.headers.insert("clock", i64::try_from(self.clock).unwrap_or(i64::MAX));
        message
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, ControlError> {
        let Value::Object(body) = json_body(message, limits)? else {
            return Err(ControlError::Invalid("it is not an object"));
        };
        let mut answers = body.into_iter();
        let (Some((node, value)), None) = (answers.next(), answers.next()) else {
            return Err(ControlError::Invalid("it is not the answer of one worker"));
        };
        let clock = message.headers.get("clock").and_then(FieldValue::as_i64);
        Ok(Self {
            node,
            value,
            ticket: message.headers.get("ticket").and_then(FieldValue::as_str).map(str::to_owned),
            clock: clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or_default(),
        })
    }

    /// The error in the answer, if any.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.value.get("error").and_then(Value::as_str)
    }
}
