//! AMQP field values with their type tags, independent of any AMQP library.
//!
//! Tags are kept because they are part of the contract: RabbitMQ treats a queue argument with another
//! tag as another argument, and a client reads a header of another type as another value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};

/// One value of an AMQP field table, with one variant per type of RabbitMQ.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// No value (`V`).
    Void,
    /// Boolean (`t`).
    Bool(bool),
    /// Signed 8-bit integer (`b`).
    I8(i8),
    /// Unsigned 8-bit integer (`B`).
    U8(u8),
    /// Signed 16-bit integer (`s`).
    I16(i16),
    /// Unsigned 16-bit integer (`u`).
    U16(u16),
    /// Signed 32-bit integer (`I`).
    I32(i32),
    /// Unsigned 32-bit integer (`i`).
    U32(u32),
    /// Signed 64-bit integer (`l`; py-amqp writes it as `L`, which brokers read the same way).
    I64(i64),
    /// 32-bit float (`f`).
    F32(f32),
    /// 64-bit float (`d`).
    F64(f64),
    /// Decimal (`D`): `value` divided by ten to the power of `scale`.
    Decimal {
        /// Number of decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// Text (`S`).
    LongString(String),
    /// Seconds since 1970-01-01T00:00:00Z (`T`).
    Timestamp(u64),
    /// Bytes (`x`), or a long string that is not UTF-8.
    Bytes(Vec<u8>),
    /// List (`A`).
    Array(Vec<FieldValue>),
    /// Nested table (`F`).
    Table(FieldTable),
}

impl FieldValue {
    /// A received long string: text if it is UTF-8, bytes otherwise.
    #[must_use]
    pub fn from_long_string(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::LongString(text),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }

    /// The one-character AMQP type tag.
    #[must_use]
    pub fn tag(&self) -> char {
        match self {
            Self::Void => 'V',
            Self::Bool(_) => 't',
            Self::I8(_) => 'b',
            Self::U8(_) => 'B',
            Self::I16(_) => 's',
            Self::U16(_) => 'u',
            Self::I32(_) => 'I',
            Self::U32(_) => 'i',
            Self::I64(_) => 'l',
            Self::F32(_) => 'f',
            Self::F64(_) => 'd',
            Self::Decimal { .. } => 'D',
            Self::LongString(_) => 'S',
            Self::Timestamp(_) => 'T',
            Self::Bytes(_) => 'x',
            Self::Array(_) => 'A',
            Self::Table(_) => 'F',
        }
    }

    /// Whether this is the void value, Python's `None`.
    #[must_use]
    pub fn is_void(&self) -> bool {
        matches!(self, Self::Void)
    }

    /// The text of a long string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongString(text) => Some(text),
            _ => None,
        }
    }

    /// Any integer, a float without a fraction, or a boolean, as `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Bool(value) => Some(i64::from(*value)),
            Self::I8(value) => Some(i64::from(*value)),
            Self::U8(value) => Some(i64::from(*value)),
            Self::I16(value) => Some(i64::from(*value)),
            Self::U16(value) => Some(i64::from(*value)),
            Self::I32(value) => Some(i64::from(*value)),
            Self::U32(value) => Some(i64::from(*value)),
            Self::I64(value) => Some(*value),
            Self::Timestamp(value) => i64::try_from(*value).ok(),
            Self::F32(_) | Self::F64(_) => integral(self.as_f64()?),
            _ => None,
        }
    }

    /// Any number as `f64`; large integers lose precision.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F32(value) => Some(f64::from(*value)),
            Self::F64(value) => Some(*value),
            Self::Decimal { scale, value } => Some(f64::from(*value) / 10f64.powi(i32::from(*scale))),
            other => other.as_i64().map(|value| value as f64),
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[FieldValue]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The nested table.
    #[must_use]
    pub fn as_table(&self) -> Option<&FieldTable> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value as JSON. Floats that JSON cannot hold become `null`, decimals and bytes become kombu's
    /// tagged objects, timestamps become their seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Void => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::F32(_) | Self::F64(_) => self.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
            Self::Decimal { scale, value } => {
                json!({"__type__": "decimal", "__value__": decimal_text(*scale, *value)})
            }
            Self::LongString(text) => Value::String(text.clone()),
            Self::Timestamp(seconds) => Value::from(*seconds),
            Self::Bytes(bytes) => {
                json!({"__type__": "base64", "__value__": STANDARD.encode(bytes)})
            }
            Self::Array(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(table) => Value::Object(table.to_json()),
            integer => integer.as_i64().map_or(Value::Null, Value::from),
        }
    }
}

/// The tags that py-amqp picks for the Python value of this JSON: `I` for an
/// integer whose magnitude is at most 2147483647 and `l` beyond, `d`, `S`, `V`, `t`, `A`, `F`.
impl From<&Value> for FieldValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Void,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::from(number),
            Value::String(text) => Self::LongString(text.clone()),
            Value::Array(values) => Self::Array(values.iter().map(Self::from).collect()),
            Value::Object(map) => Self::Table(FieldTable::from(map)),
        }
    }
}

/// See the conversion from [`Value`]. An integer above `i64::MAX` becomes a double, because no
/// AMQP type that all clients read can hold it.
impl From<&Number> for FieldValue {
    fn from(number: &Number) -> Self {
        match number.as_i64() {
            Some(value) => Self::from(value),
            None => Self::F64(number.as_f64().unwrap_or_default()),
        }
    }
}

impl From<Value> for FieldValue {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl From<i64> for FieldValue {
    fn from(value: i64) -> Self {
        // py-amqp tests against plus and minus 2147483647, so the smallest i32 is sent as 64 bits.
        match i32::try_from(value) {
            Ok(small) if small != i32::MIN => Self::I32(small),
            _ => Self::I64(value),
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::LongString(text.to_owned())
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::LongString(text)
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for FieldValue {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl<T: Into<FieldValue>> From<Option<T>> for FieldValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Void, Into::into)
    }
}

impl From<FieldTable> for FieldValue {
    fn from(table: FieldTable) -> Self {
        Self::Table(table)
    }
}

/// A field table that keeps the order of its keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldTable {
    entries: Vec<(String, FieldValue)>,
}

impl FieldTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&FieldValue> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key`: an existing key keeps its place, a new one is added at the end.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<FieldValue>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<FieldValue> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldValue)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The table as a JSON object, see [`FieldValue::to_json`].
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_json())).collect()
    }
}

impl From<&Map<String, Value>> for FieldTable {
    fn from(map: &Map<String, Value>) -> Self {
        map.iter().map(|(name, value)| (name.clone(), FieldValue::from(value))).collect()
    }
}

/// Duplicate keys are kept; [`FieldTable::get`] finds the first.
impl FromIterator<(String, FieldValue)> for FieldTable {
    fn from_iter<I: IntoIterator<Item = (String, FieldValue)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl IntoIterator for FieldTable {
    type Item = (String, FieldValue);
    type IntoIter = std::vec::IntoIter<(String, FieldValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn integral(value: f64) -> Option<i64> {
    // 2^63 is the first double that does not fit; comparing against it is exact.
    (value.fract() == 0.0 && value >= i64::MIN as f64 && value < i64::MAX as f64).then_some(value as i64)
}

fn decimal_text(scale: u8, value: u32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{value:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}
