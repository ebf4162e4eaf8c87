//! The JSON text of a message.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::{Map, Value, json};

use crate::json::{self, JsonError};
use crate::limits::Limits;
use crate::message::{Message, Properties};
use crate::value::{FieldTable, FieldValue};

/// Room for headers and properties beside the body, in bytes.
const AROUND_THE_BODY: usize = 4 * 1024 * 1024;

/// A message in a list or on a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Properties, headers and body, the body no longer encoded.
    pub message: Message,
    /// The exchange it was published to; empty is the default one. The sender claims it; Redis does not check it.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The sender's name of the message.
    pub delivery_tag: String,
    /// Whether it was requeued after a worker had taken it.
    pub redelivered: bool,
    /// Properties that AMQP lacks, `acks_late` and `origin` among them.
    pub extra: Map<String, Value>,
    /// Keys of the envelope that kombu lacks.
    pub unknown: Map<String, Value>,
}

/// Why a text is not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON within the limits.
    #[error("the envelope cannot be read: {0}")]
    Json(#[from] JsonError),
    /// JSON of another shape.
    #[error("the envelope is not an object")]
    NotAnObject,
}

impl Envelope {
    /// A message on its way to `routing_key` of `exchange`, named by `delivery_tag`.
    #[must_use]
    pub fn new(
        message: Message,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        delivery_tag: impl Into<String>,
    ) -> Self {
        Self {
            message,
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            delivery_tag: delivery_tag.into(),
            redelivered: false,
            extra: Map::new(),
            unknown: Map::new(),
        }
    }

    /// The largest envelope that [`decode`](Self::decode) reads, in bytes: the largest body in base64, and its frame.
    #[must_use]
    pub fn max_bytes(limits: &Limits) -> usize {
        limits.body_bytes.div_ceil(3).saturating_mul(4).saturating_add(AROUND_THE_BODY)
    }

    /// Reads an envelope. Numbers may be floats, every member may be missing, and a body with a wrong encoding is kept as its
    /// text, so that the reader can still answer the message.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn decode(text: &[u8], limits: &Limits) -> Result<Self, EnvelopeError> {
        let limits = Limits { body_bytes: Self::max_bytes(limits), ..*limits };
        let Value::Object(mut envelope) = json::parse(text, &limits)? else {
            return Err(EnvelopeError::NotAnObject);
        };
        let mut properties = object(envelope.shift_remove("properties"));
        let info = object(properties.shift_remove("delivery_info"));
        let encoding = properties.shift_remove("body_encoding");
        let body = body(envelope.shift_remove("body"), encoding.as_ref().and_then(Value::as_str));
        let headers = FieldTable::from(&object(envelope.shift_remove("headers")));
        let mut take = |name: &str| properties.shift_remove(name).and_then(text_of);
        let read = Properties {
            content_type: envelope.shift_remove("content-type").and_then(text_of),
            content_encoding: envelope.shift_remove("content-encoding").and_then(text_of),
            delivery_mode: take("delivery_mode").and_then(octet),
            priority: take("priority").and_then(octet),
            correlation_id: take("correlation_id"),
            reply_to: take("reply_to"),
            expiration: take("expiration"),
            message_id: take("message_id"),
            timestamp: take("timestamp").and_then(|text| text.parse().ok()),
            message_type: take("type"),
            user_id: take("user_id"),
            app_id: take("app_id"),
        };
        let delivery_tag = take("delivery_tag").unwrap_or_default();
        let is_set = |flag: Option<i64>| flag.is_some_and(|flag| flag != 0);
        let redelivered = is_set(headers.get("redelivered").and_then(FieldValue::as_i64))
            || is_set(info.get("redelivered").map(FieldValue::from).as_ref().and_then(FieldValue::as_i64));
        let info_text = |name: &str| info.get(name).cloned().and_then(text_of).unwrap_or_default();
        Ok(Self {
            message: Message { properties: read, headers, body },
            exchange: info_text("exchange"),
            routing_key: info_text("routing_key"),
            delivery_tag,
            redelivered,
            extra: properties,
            unknown: envelope,
        })
    }

    /// The text, in the order and the form in which kombu writes it.
    #[must_use]
    pub fn encode(&self) -> String {
        let Message { properties: from, headers, body } = &self.message;
        let mut properties = Map::new();
        let texts = [("correlation_id", &from.correlation_id), ("reply_to", &from.reply_to)];
        let later = [
            ("expiration", &from.expiration),
            ("message_id", &from.message_id),
            ("type", &from.message_type),
            ("user_id", &from.user_id),
            ("app_id", &from.app_id),
        ];
        let put = |properties: &mut Map<String, Value>, pairs: &[(&str, &Option<String>)]| {
            for (name, value) in pairs {
                if let Some(value) = value {
                    properties.insert((*name).to_owned(), value.as_str().into());
                }
            }
        };
        put(&mut properties, &texts);
        properties.extend(self.extra.clone());
        properties.insert("delivery_mode".to_owned(), from.delivery_mode.unwrap_or(2).into());
        put(&mut properties, &later);
        if let Some(timestamp) = from.timestamp {
            properties.insert("timestamp".to_owned(), timestamp.into());
        }
        let mut info = json!({"exchange": self.exchange, "routing_key": self.routing_key});
        if self.redelivered {
            info["redelivered"] = true.into();
        }
        properties.insert("delivery_info".to_owned(), info);
        properties.insert("priority".to_owned(), from.priority.unwrap_or(0).into());
        properties.insert("body_encoding".to_owned(), "base64".into());
        properties.insert("delivery_tag".to_owned(), self.delivery_tag.as_str().into());
        let mut envelope = Map::new();
        envelope.insert("body".to_owned(), STANDARD.encode(body).into());
        envelope.insert("content-encoding".to_owned(), from.content_encoding.clone().into());
        envelope.insert("content-type".to_owned(), from.content_type.clone().into());
        envelope.insert("headers".to_owned(), Value::Object(headers.to_json()));
        envelope.insert("properties".to_owned(), Value::Object(properties));
        envelope.extend(self.unknown.clone());
        json::object_to_string(&envelope)
    }
}

/// Splits an entry of `unacked`, `[envelope, exchange, routing_key]`, without reading the envelope twice.
///
/// Returns the text to requeue, marked as redelivered as kombu does, with its exchange, routing key and priority. An envelope
/// that cannot be read, or cannot be written back unchanged, is requeued as it is.
#[must_use]
pub fn restored(unacked: &[u8], limits: &Limits) -> Option<Restored> {
    let bounds = Limits { body_bytes: Envelope::max_bytes(limits), ..*limits };
    let Ok(Value::Array(parts)) = json::parse(unacked, &bounds) else {
        return raw(unacked);
    };
    let mut parts = parts.into_iter();
    let mut envelope = parts.next()?;
    let mut text = || parts.next().and_then(text_of).unwrap_or_default();
    let (exchange, routing_key) = (text(), text());
    let priority = envelope.pointer("/properties/priority").cloned().and_then(text_of).and_then(octet).unwrap_or(0);
    if let Some(headers) = envelope.get_mut("headers").and_then(Value::as_object_mut) {
        headers.insert("redelivered".to_owned(), true.into());
    }
    if let Some(info) = envelope.pointer_mut("/properties/delivery_info").and_then(Value::as_object_mut) {
        info.insert("redelivered".to_owned(), true.into());
    }
    let payload = match &envelope {
        // Not an envelope of kombu: it is requeued unchanged, to be refused by a worker.
        Value::Object(map) => json::object_to_string(map),
        other => json::to_string(other),
    };
    Some(Restored { payload: payload.into_bytes(), exchange, routing_key, priority })
}

/// A message to requeue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The envelope's text.
    pub payload: Vec<u8>,
    /// The exchange that decides the queue; empty is the default exchange.
    pub exchange: String,
    /// The routing key, for the default exchange the queue.
    pub routing_key: String,
    /// The message's priority.
    pub priority: u8,
}

/// Splits `[`, any bytes, `, "exchange", "routing key"]`, for bytes that are not JSON.
fn raw(unacked: &[u8]) -> Option<Restored> {
    let inner = unacked.strip_prefix(b"[")?;
    let split = |bytes: &[u8]| bytes.windows(3).rposition(|window| window == b", \"");
    let second = split(inner)?;
    let first = split(inner.get(..second)?)?;
    let text = |bytes: Option<&[u8]>| -> Option<String> { serde_json::from_slice(bytes?).ok() };
    let end = inner.len().checked_sub(1)?;
    Some(Restored {
        payload: inner.get(..first)?.to_vec(),
        exchange: text(inner.get(first + 2..second))?,
        routing_key: text(inner.get(second + 2..end))?,
        priority: 0,
    })
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Text, or a number as the text of its integer.
fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => FieldValue::from(&other).as_i64().map(|number| number.to_string()),
    }
}

fn octet(text: String) -> Option<u8> {
    text.trim().parse::<i64>().ok().and_then(|number| u8::try_from(number.clamp(0, 255)).ok())
}

fn body(value: Option<Value>, encoding: Option<&str>) -> Vec<u8> {
    let text = match value {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => return Vec::new(),
        Some(other) => return json::to_string(&other).into_bytes(),
    };
    if encoding != Some("base64") {
        return text.into_bytes();
    }
    // Some senders leave out the padding, which changes nothing.
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&ALPHABET, lenient).decode(text.as_bytes()).unwrap_or_else(|_| text.into_bytes())
}
