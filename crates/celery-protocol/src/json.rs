//! JSON as Python's `json` module writes it, and bounded reading.

use serde_json::{Map, Value};

use crate::limits::Limits;
use crate::python::float_repr;

/// The parser's own recursion guard is at 128.
const MAX_PARSER_DEPTH: usize = 120;

/// Why a body cannot be read as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("body of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Nested deeper than allowed.
    #[error("body is nested deeper than {limit} levels")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
    },
    /// More values than allowed.
    #[error("body holds more than {limit} values")]
    TooManyValues {
        /// Values allowed.
        limit: usize,
    },
    /// `NaN` or an infinity, which Python writes but JSON lacks.
    #[error("body holds NaN or an infinity")]
    NotFinite,
    /// An integer of more than 64 bits, which cannot be kept unchanged.
    #[error("body holds an integer of more than 64 bits")]
    IntegerTooLarge,
    /// Not JSON, or not UTF-8.
    #[error("body is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// Reads one JSON document within `limits`.
///
/// # Errors
/// See [`JsonError`]; never panics.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.body_bytes {
        return Err(JsonError::TooLarge { size: bytes.len(), limit: limits.body_bytes });
    }
    check_bounds(bytes, limits)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Checks the depth and the number of values before the parser sees them. The parser detects malformed
/// text.
fn check_bounds(bytes: &[u8], limits: &Limits) -> Result<(), JsonError> {
    let deepest = limits.depth.min(MAX_PARSER_DEPTH);
    let (mut depth, mut values, mut at) = (0usize, 1usize, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at + 1),
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > deepest {
                    return Err(JsonError::TooDeep { limit: deepest });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            b'N' | b'I' => return Err(JsonError::NotFinite),
            b'0'..=b'9' => {
                let end = end_of_number(bytes, at);
                let negative = at > 0 && bytes.get(at - 1) == Some(&b'-');
                if !fits_64_bits(bytes.get(at..end).unwrap_or_default(), negative) {
                    return Err(JsonError::IntegerTooLarge);
                }
                at = end - 1;
            }
            _ => {}
        }
        if values > limits.values {
            return Err(JsonError::TooManyValues { limit: limits.values });
        }
        at += 1;
    }
    Ok(())
}

/// Index of the closing quote, or the end of the input.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let digits = bytes.iter().skip(start);
    start + digits.take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).count()
}

fn fits_64_bits(number: &[u8], negative: bool) -> bool {
    if number.len() < 19 || !number.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(number) else {
        return true;
    };
    let value = text.parse::<u64>();
    value.is_ok_and(|value| !negative || value <= i64::MIN.unsigned_abs())
}

/// `json.dumps(value)` with Python's defaults: `", "` and `": "`, everything but printable ASCII
/// escaped, floats as Python's `repr`. Keys keep their order.
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// [`to_string`] of an object.
#[must_use]
pub fn object_to_string(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_object(&mut out, map);
    out
}

pub(crate) fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&float_repr(float)),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => write_text(out, text),
        Value::Array(values) => write_array(out, values),
        Value::Object(map) => write_object(out, map),
    }
}

pub(crate) fn write_array(out: &mut String, values: &[Value]) {
    out.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_value(out, value);
    }
    out.push(']');
}

pub(crate) fn write_object(out: &mut String, map: &Map<String, Value>) {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_text(out, key);
        out.push_str(": ");
        write_value(out, value);
    }
    out.push('}');
}

pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    // Most texts are ids and names, which need no escapes.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}
