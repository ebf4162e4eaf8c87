//! Requests of clients to all workers, or to some.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::matcher;
use crate::body::{BodyError, json_body};
use crate::json;
use crate::limits::Limits;
use crate::message::{MAX_SHORT_STRING, Message, delivery_mode};
use crate::topology::CONTROL_REPLY_EXCHANGE;
use crate::value::FieldValue;

/// The address for answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The exchange, `reply.celery.pidbox`.
    pub exchange: String,
    /// The asking client's id.
    pub routing_key: String,
}

/// A control request.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlRequest {
    /// The method's name; see [`Command::parse`](super::Command::parse).
    pub method: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The node names it is for; `None` means by pattern, or all.
    pub destination: Option<Vec<String>>,
    /// The pattern for node names, used with `matcher`.
    pub pattern: Option<String>,
    /// The kind of `pattern`: `glob` or `pcre`.
    pub matcher: Option<String>,
    /// Links answers to the request.
    pub ticket: Option<String>,
    /// The address for answers; `None` if none is wanted.
    pub reply_to: Option<ReplyTo>,
    /// The sender's Lamport clock.
    pub clock: u64,
    /// When the client stops waiting for the answer, in seconds since 1970; 0 for never.
    pub expires: f64,
}

/// Why a message is not a control request, or not an answer to one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The message has another form.
    #[error("not a control message: {0}")]
    Invalid(&'static str),
}

impl ControlRequest {
    /// A request to all workers, without arguments and without an answer.
    #[must_use]
    pub fn new(method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            arguments: Map::new(),
            destination: None,
            pattern: None,
            matcher: None,
            ticket: None,
            reply_to: None,
            clock: 0,
            expires: 0.0,
        }
    }

    /// Asks for answers to the client `client_id`.
    #[must_use]
    pub fn answered_to(mut self, client_id: impl Into<String>, ticket: impl Into<String>) -> Self {
        self.ticket = Some(ticket.into());
        self.reply_to = Some(ReplyTo { exchange: CONTROL_REPLY_EXCHANGE.to_owned(), routing_key: client_id.into() });
        self
    }

    /// Reads a request; unknown members are ignored.
    ///
    /// # Errors
    /// See [`ControlError`]; never panics.
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, ControlError> {
        let Value::Object(mut body) = json_body(message, limits)? else {
            return Err(ControlError::Invalid("it is not an object"));
        };
        let mut take = |key: &str| body.shift_remove(key).unwrap_or(Value::Null);
        let Value::String(method) = take("method") else {
            return Err(ControlError::Invalid("it has no method"));
        };
        let arguments = match take("arguments") {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            _ => return Err(ControlError::Invalid("its arguments are not an object")),
        };
        let destination = match take("destination") {
            Value::Null => None,
            Value::String(node) => (!node.is_empty()).then(|| vec![node]),
            Value::Array(nodes) if nodes.is_empty() => None,
            // Entries that are not names match no worker: a list without names is for no worker, not for all.
            Value::Array(nodes) => Some(nodes.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => return Err(ControlError::Invalid("its destination is not a list")),
        };
        let short = |value: Value| match value {
            Value::String(text) if text.len() <= MAX_SHORT_STRING => Ok(Some(text)),
            Value::Null => Ok(None),
            _ => Err(ControlError::Invalid("a member is not a short text")),
        };
        let (pattern, matcher, ticket) = (short(take("pattern"))?, short(take("matcher"))?, short(take("ticket"))?);
        let reply_to = match take("reply_to") {
            Value::Null => None,
            Value::Object(mut reply_to) => {
                let mut text = |key: &str| short(reply_to.shift_remove(key).unwrap_or(Value::Null));
                match (text("exchange")?, text("routing_key")?) {
                    (Some(exchange), Some(routing_key)) => Some(ReplyTo { exchange, routing_key }),
                    _ => return Err(ControlError::Invalid("its reply_to is incomplete")),
                }
            }
            _ => return Err(ControlError::Invalid("its reply_to is not an object")),
        };
        let number = |name: &str| message.headers.get(name).and_then(FieldValue::as_f64).unwrap_or_default();
        let clock = message.headers.get("clock").and_then(FieldValue::as_i64);
        Ok(Self {
            method,
            arguments,
            destination,
            pattern: pattern.filter(|text| !text.is_empty()),
            matcher: matcher.filter(|text| !text.is_empty()),
            ticket,
            reply_to,
            clock: clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or_default(),
            expires: number("expires"),
        })
    }

    /// The message Celery 5.7 sends for it.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        let mut body = Map::new();
        body.insert("method".to_owned(), Value::String(self.method.clone()));
        body.insert("arguments".to_owned(), Value::Object(self.arguments.clone()));
        body.insert("destination".to_owned(), self.destination.clone().map_or(Value::Null, Value::from));
        body.insert("pattern".to_owned(), text(&self.pattern));
        body.insert("matcher".to_owned(), text(&self.matcher));
        if let Some(ticket) = &self.ticket {
            body.insert("ticket".to_owned(), Value::String(ticket.clone()));
        }
        if let Some(reply_to) = &self.reply_to {
            let mut to = Map::new();
            to.insert("exchange".to_owned(), Value::String(reply_to.exchange.clone()));
            to.insert("routing_key".to_owned(), Value::String(reply_to.routing_key.clone()));
            body.insert("reply_to".to_owned(), Value::Object(to));
        }
        let mut message = Message::json(json::object_to_string(&body).into_bytes(), delivery_mode::PERSISTENT);
        message.headers.insert("clock", i64::try_from(self.clock).unwrap_or(i64::MAX));
        message.headers.insert("expires", self.expires);
        message
    }

    /// Whether the request is for the worker `node`: it is named; or no worker is named, and its name matches the pattern; or there
    /// is no pattern either.
    ///
    /// `glob` is Python's `fnmatch`. `pcre` is anchored at the start as Python's `re.match` is, without look-around,
    /// back-references and possessive quantifiers, whose patterns match no worker; neither do those of any other matcher.
    #[must_use]
    pub fn is_for(&self, node: &str) -> bool {
        match (&self.destination, &self.pattern, self.matcher.as_deref()) {
            (Some(nodes), _, _) => nodes.iter().any(|name| name == node),
            (None, Some(pattern), Some("glob")) => matcher::glob(pattern, node),
            (None, Some(pattern), Some("pcre")) => matcher::pcre(pattern, node),
            (None, Some(_), Some(_)) => false,
            _ => true,
        }
    }

    /// Whether the client has stopped waiting for the answer. A clock that differs from the sender's shifts this.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires > 0.0 && self.expires < now.as_microsecond() as f64 / 1e6
    }
}
