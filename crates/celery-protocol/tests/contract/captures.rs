//! The captured messages, as messages.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::{FieldTable, FieldValue, Message, Properties};
use serde_json::{Map, Value};

/// One captured `basic.publish`.
#[derive(Debug)]
pub struct Publish {
    /// The file it was found in, without `.json`, and its place there.
    pub label: String,
    pub routing_key: String,
    pub seen_at: String,
    pub message: Message,
}

impl Publish {
    /// Whether a task travels in it; everything else through the default exchange is a result.
    pub fn is_task(&self) -> bool {
        self.routing_key == "celery"
    }
}

/// Every publish through the default exchange in the files of `folder`, file by file.
pub fn captures(folder: &str) -> Vec<(String, Vec<Publish>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(golden(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), publishes(path))).collect()
}

/// The publishes of one file, found by its name without `.json`.
pub fn capture(folder: &str, name: &str) -> Vec<Publish> {
    publishes(&golden(folder).join(format!("{name}.json")))
}

pub fn golden(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

pub fn read_json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(golden(path)).unwrap()).unwrap()
}

fn publishes(path: &PathBuf) -> Vec<Publish> {
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap();
    let messages = file["messages"].as_array().unwrap();
    let found = messages
        .iter()
        .enumerate()
        .filter(|(_, captured)| captured["method"] == "basic.publish" && captured["args"]["exchange"] == "");
    found
        .map(|(index, captured)| Publish {
            label: format!("{name} message {index}"),
            routing_key: captured["args"]["routing_key"].as_str().unwrap().to_owned(),
            seen_at: captured["seen_at"].as_str().unwrap().to_owned(),
            message: message(captured),
        })
        .collect()
}

pub fn message(captured: &Value) -> Message {
    let body = match captured.get("body_text") {
        Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
        None => STANDARD.decode(captured["body_base64"].as_str().unwrap()).unwrap(),
    };
    let types = captured["headers_amqp_types"].as_object().unwrap();
    let headers = captured["headers"].as_object().unwrap();
    assert_eq!(headers.len(), types.len());
    let headers = headers
        .iter()
        .map(|(key, value)| (key.clone(), field(value, types[key].as_str().unwrap())))
        .collect::<FieldTable>();
    Message { properties: properties(captured["properties"].as_object().unwrap()), headers, body }
}

/// The value with the type tag it was captured with, such as `S`, or `A[d,I]` for an array.
pub fn field(value: &Value, tag: &str) -> FieldValue {
    match tag {
        "V" => FieldValue::Void,
        "S" => FieldValue::LongString(value.as_str().unwrap().to_owned()),
        "I" => FieldValue::I32(value.as_i64().unwrap().try_into().unwrap()),
        "l" => FieldValue::I64(value.as_i64().unwrap()),
        "t" => FieldValue::Bool(value.as_bool().unwrap()),
        "d" => FieldValue::F64(value.as_f64().unwrap()),
        // Types inside tables were not captured; those that occur hold text.
        "F" => FieldValue::Table(
            value
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| (key.clone(), FieldValue::LongString(value.as_str().unwrap().to_owned())))
                .collect(),
        ),
        array => {
            let tags = array.strip_prefix("A[").and_then(|rest| rest.strip_suffix(']')).unwrap().split(',');
            FieldValue::Array(value.as_array().unwrap().iter().zip(tags).map(|(v, t)| field(v, t)).collect())
        }
    }
}

fn properties(captured: &Map<String, Value>) -> Properties {
    let mut properties = Properties::default();
    for (name, value) in captured {
        let text = || Some(value.as_str().unwrap().to_owned());
        let octet = || Some(u8::try_from(value.as_u64().unwrap()).unwrap());
        match name.as_str() {
            "content_type" => properties.content_type = text(),
            "content_encoding" => properties.content_encoding = text(),
            "delivery_mode" => properties.delivery_mode = octet(),
            "priority" => properties.priority = octet(),
            "correlation_id" => properties.correlation_id = text(),
            "reply_to" => properties.reply_to = text(),
            "expiration" => properties.expiration = text(),
            other => panic!("captured property {other} is not known"),
        }
    }
    properties
}

/// Equality with a readable difference: order and type tags of headers, and the text of bodies.
pub fn assert_same(ours: &Message, captured: &Message, label: &str) {
    assert_eq!(ours.properties, captured.properties, "properties of {label}");
    let headers = |message: &Message| -> Vec<(String, FieldValue)> {
        message.headers.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    };
    assert_eq!(headers(ours), headers(captured), "headers of {label}");
    assert_eq!(String::from_utf8_lossy(&ours.body), String::from_utf8_lossy(&captured.body), "body of {label}");
}
