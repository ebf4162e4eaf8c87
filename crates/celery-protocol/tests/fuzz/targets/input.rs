//! From the fuzzer's bytes to a message: a line of JSON with properties and headers, then the body.
//!
//! Text, so that a corpus can be read and the fuzzer's words fit. A header that JSON has no type for is an object of one
//! key `!` and the AMQP tag, as in `{"!T": 5}`; headers as a list of pairs may hold a name twice.

use celery_protocol::{FieldTable, FieldValue, Message, Properties};
use serde_json::{Map, Value};

/// The message in `data`. Without a readable first line all of it is the body of a message with Celery's usual headers.
pub fn message(data: &[u8]) -> Message {
    let (head, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&data[..0], data),
    };
    let Ok(Value::Object(head)) = serde_json::from_slice::<Value>(head) else {
        let headers = [("task", "t"), ("id", "i")].map(|(name, text)| (name.to_owned(), text.into()));
        return Message { headers: headers.into_iter().collect(), body: data.to_vec(), ..Message::default() };
    };
    Message { properties: properties(&head), headers: headers(head.get("headers")), body: body.to_vec() }
}

fn properties(head: &Map<String, Value>) -> Properties {
    let text = |name: &str| head.get(name).and_then(Value::as_str).map(str::to_owned);
    let octet = |name: &str| head.get(name).and_then(Value::as_u64).and_then(|value| u8::try_from(value).ok());
    Properties {
        content_type: text("content_type"),
        content_encoding: text("content_encoding"),
        delivery_mode: octet("delivery_mode"),
        priority: octet("priority"),
        correlation_id: text("correlation_id"),
        reply_to: text("reply_to"),
        expiration: text("expiration"),
        ..Properties::default()
    }
}

fn headers(value: Option<&Value>) -> FieldTable {
    match value {
        Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), field(value))).collect(),
        Some(Value::Array(pairs)) => {
            pairs.iter().filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), field(pair.get(1)?)))).collect()
        }
        _ => FieldTable::new(),
    }
}

fn field(value: &Value) -> FieldValue {
    match value {
        Value::Object(map) => match map.iter().next() {
            Some((tag, value)) if map.len() == 1 && tag.starts_with('!') => typed(tag, value),
            _ => FieldValue::Table(map.iter().map(|(name, value)| (name.clone(), field(value))).collect()),
        },
        Value::Array(values) => FieldValue::Array(values.iter().map(field).collect()),
        plain => FieldValue::from(plain),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any value of the type will do")]
fn typed(tag: &str, value: &Value) -> FieldValue {
    let integer = value.as_i64().unwrap_or_default();
    let float = match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        _ => value.as_f64().unwrap_or_default(),
    };
    let bytes = || value.as_str().unwrap_or_default().chars().map(|c| u32::from(c) as u8).collect::<Vec<_>>();
    match tag {
        "!b" => FieldValue::I8(integer as i8),
        "!B" => FieldValue::U8(integer as u8),
        "!s" => FieldValue::I16(integer as i16),
        "!u" => FieldValue::U16(integer as u16),
        "!I" => FieldValue::I32(integer as i32),
        "!i" => FieldValue::U32(integer as u32),
        "!l" => FieldValue::I64(integer),
        "!f" => FieldValue::F32(float as f32),
        "!d" => FieldValue::F64(float),
        "!D" => FieldValue::Decimal { scale: (integer >> 32) as u8, value: integer as u32 },
        "!T" => FieldValue::Timestamp(value.as_u64().unwrap_or_default()),
        "!x" => FieldValue::Bytes(bytes()),
        _ => FieldValue::from_long_string(bytes()),
    }
}
