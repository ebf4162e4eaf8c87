//! Reads task messages of every form.

use serde_json::{Map, Value};

use super::error::{DecodeError, Rejection, TaskIdentity};
use super::headers::{TaskHeaders, integer, text};
use super::request::{Protocol, TaskRequest};
use super::signature::Embed;
use crate::body::json_body;
use crate::limits::Limits;
use crate::message::{MAX_SHORT_STRING, Message};
use crate::value::{FieldTable, FieldValue};

impl TaskRequest {
    /// Reads a task message of any form.
    ///
    /// # Errors
    /// A [`Rejection`] with the reason, and as much of the caller as is known.
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, Box<Rejection>> {
        decode(message, limits)
    }
}

/// Keys of a protocol 1 body that are headers in protocol 2. Others have no meaning, and a body may
/// hold very many of them.
const V1_HEADER_KEYS: [&str; 14] = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "origin",
    "ignore_result",
];

fn decode(message: &Message, limits: &Limits) -> Result<TaskRequest, Box<Rejection>> {
    let mut identity = identify(message, &message.headers);
    let mut read = || -> Result<TaskRequest, DecodeError> {
        match json_body(message, limits)? {
            Value::Array(parts) => protocol_2(message, parts),
            Value::Object(body) => {
                let table = merged_headers(&message.headers, &body);
                // A body with an id can be answered even if the rest is wrong.
                identity = identify(message, &table);
                protocol_1(message, body, table)
            }
            _ => Err(DecodeError::NotATask("its body is neither a list nor an object".to_owned())),
        }
    };
    read().map_err(|error| Box::new(Rejection { error, identity }))
}

fn identify(message: &Message, headers: &FieldTable) -> TaskIdentity {
    let short = |text: String| Some(text).filter(|text| text.len() <= MAX_SHORT_STRING);
    let header = |name| headers.get(name).and_then(text).and_then(short);
    let property = |value: &Option<String>| value.clone().filter(|text| !text.is_empty()).and_then(short);
    let correlation_id = property(&message.properties.correlation_id);
    // Every Celery sends the id as correlation id too. A protocol 1 message with an unreadable body
    // has no other id.
    let id = header("id").or_else(|| correlation_id.clone());
    TaskIdentity {
        task: header("task"),
        reply_to: property(&message.properties.reply_to),
        correlation_id: correlation_id.or_else(|| id.clone()),
        group: header("group"),
        parent_id: header("parent_id"),
        ignore_result: headers.get("ignore_result").and_then(integer).map(|flag| flag != 0),
        id,
    }
}

fn protocol_2(message: &Message, parts: Vec<Value>) -> Result<TaskRequest, DecodeError> {
    let headers = TaskHeaders::from_table(&message.headers)?;
    let count = parts.len();
    let mut parts = parts.into_iter();
    let (Some(args), Some(kwargs), embed, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(DecodeError::NotATask(format!("its body has {count} parts instead of 3")));
    };
    let embed = match embed {
        None | Some(Value::Null) => Embed::default(),
        Some(Value::Object(map)) => follow_ups(&map)?,
        Some(_) => {
            return Err(DecodeError::NotATask("its embed is not an object".to_owned()));
        }
    };
    request(message, headers, Some(args), Some(kwargs), embed, Protocol::V2)
}

fn protocol_1(message: &Message, mut body: Map<String, Value>, table: FieldTable) -> Result<TaskRequest, DecodeError> {
    let protocol = if message.headers.get("task").is_some() { Protocol::Hybrid } else { Protocol::V1 };
    let headers = TaskHeaders::from_table(&table)?;
    let (args, kwargs) = (body.remove("args"), body.remove("kwargs"));
    body.retain(|key, _| matches!(key.as_str(), "callbacks" | "errbacks" | "chain" | "chord"));
    let embed = follow_ups(&body)?;
    request(message, headers, args, kwargs, embed, protocol)
}

/// The metadata in a protocol 1 body as headers; real headers win.
fn merged_headers(headers: &FieldTable, body: &Map<String, Value>) -> FieldTable {
    let mut table = headers.clone();
    for key in V1_HEADER_KEYS {
        if let (None, Some(value)) = (table.get(key), body.get(key)) {
            table.insert(key, value);
        }
    }
    let no_group = table.get("group").is_none_or(FieldValue::is_void);
    if let (true, Some(taskset)) = (no_group, body.get("taskset")) {
        table.insert("group", taskset);
    }
    table
}

fn follow_ups(map: &Map<String, Value>) -> Result<Embed, DecodeError> {
    Embed::from_json(map).map_err(|key| DecodeError::NotATask(format!("its {key} are not signatures")))
}

fn request(
    message: &Message,
    headers: TaskHeaders,
    args: Option<Value>,
    kwargs: Option<Value>,
    embed: Embed,
    protocol: Protocol,
) -> Result<TaskRequest, DecodeError> {
    // JSON can hold values that AMQP cannot carry: such a task could not be forwarded or retried.
    let properties = &message.properties;
    for (what, text) in [
        ("correlation id", &properties.correlation_id),
        ("reply queue", &properties.reply_to),
        ("expiration", &properties.expiration),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > MAX_SHORT_STRING) {
            return Err(DecodeError::NotATask(format!("its {what} is longer than 255 bytes")));
        }
    }
    if headers.extra.iter().chain(headers.stamps.iter()).any(|(name, _)| name.len() > MAX_SHORT_STRING) {
        return Err(DecodeError::NotATask("the name of a header is longer than 255 bytes".to_owned()));
    }
    let args = match args {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(args)) => args,
        Some(_) => {
            return Err(DecodeError::NotATask("its arguments are not a list".to_owned()));
        }
    };
    let kwargs = match kwargs {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(kwargs)) => kwargs,
        Some(_) => {
            return Err(DecodeError::NotATask("Task keyword arguments must be a mapping".to_owned()));
        }
    };
    Ok(TaskRequest { headers, args, kwargs, embed, properties: message.properties.clone(), protocol })
}
