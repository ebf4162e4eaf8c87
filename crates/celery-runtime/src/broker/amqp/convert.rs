//! Between `celery_protocol`'s messages and `lapin`'s.

use celery_protocol::{FieldTable, FieldValue, Message, Properties, message::MAX_SHORT_STRING};
use lapin::{
    BasicProperties, ErrorKind,
    types::{AMQPValue, DecimalValue, FieldArray, LongString, ShortString},
};

/// Text that fits AMQP's short strings.
pub(super) fn short(text: &str) -> Result<ShortString, lapin::Error> {
    if text.len() > MAX_SHORT_STRING {
        return Err(invalid("a name is longer than 255 bytes"));
    }
    Ok(ShortString::from(text))
}

fn invalid(reason: &'static str) -> lapin::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, reason).into()
}

/// Whether the message cannot be expressed in AMQP, so that sending it again cannot help.
pub(super) fn is_invalid(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::IOError(error) => error.kind() == std::io::ErrorKind::InvalidInput,
        ErrorKind::SerialisationError(_) => true,
        _ => false,
    }
}

pub(super) fn to_table(table: &FieldTable) -> Result<lapin::types::FieldTable, lapin::Error> {
    let mut out = lapin::types::FieldTable::default();
    for (name, value) in table.iter() {
        out.insert(short(name)?, to_value(value)?);
    }
    Ok(out)
}

fn to_value(value: &FieldValue) -> Result<AMQPValue, lapin::Error> {
    Ok(match value {
        FieldValue::Void => AMQPValue::Void,
        FieldValue::Bool(value) => AMQPValue::Boolean(*value),
        FieldValue::I8(value) => AMQPValue::ShortShortInt(*value),
        FieldValue::U8(value) => AMQPValue::ShortShortUInt(*value),
        FieldValue::I16(value) => AMQPValue::ShortInt(*value),
        FieldValue::U16(value) => AMQPValue::ShortUInt(*value),
        FieldValue::I32(value) => AMQPValue::LongInt(*value),
        FieldValue::U32(value) => AMQPValue::LongUInt(*value),
        FieldValue::I64(value) => AMQPValue::LongLongInt(*value),
        FieldValue::F32(value) => AMQPValue::Float(*value),
        FieldValue::F64(value) => AMQPValue::Double(*value),
        FieldValue::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value }),
        FieldValue::LongString(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        FieldValue::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        FieldValue::Bytes(bytes) => AMQPValue::ByteArray(bytes.clone().into()),
        FieldValue::Array(values) => {
            let mut array = FieldArray::default();
            for value in values {
                array.push(to_value(value)?);
            }
            AMQPValue::FieldArray(array)
        }
        FieldValue::Table(table) => AMQPValue::FieldTable(to_table(table)?),
    })
}

fn from_table(table: &lapin::types::FieldTable) -> FieldTable {
    table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), from_value(value))).collect()
}

fn from_value(value: &AMQPValue) -> FieldValue {
    match value {
        AMQPValue::Boolean(value) => FieldValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => FieldValue::I8(*value),
        AMQPValue::ShortShortUInt(value) => FieldValue::U8(*value),
        AMQPValue::ShortInt(value) => FieldValue::I16(*value),
        AMQPValue::ShortUInt(value) => FieldValue::U16(*value),
        AMQPValue::LongInt(value) => FieldValue::I32(*value),
        AMQPValue::LongUInt(value) => FieldValue::U32(*value),
        AMQPValue::LongLongInt(value) => FieldValue::I64(*value),
        AMQPValue::Float(value) => FieldValue::F32(*value),
        AMQPValue::Double(value) => FieldValue::F64(*value),
        AMQPValue::DecimalValue(value) => FieldValue::Decimal { scale: value.scale, value: value.value },
        AMQPValue::ShortString(text) => FieldValue::LongString(text.as_str().to_owned()),
        AMQPValue::LongString(text) => FieldValue::from_long_string(text.as_bytes().to_vec()),
        AMQPValue::FieldArray(values) => FieldValue::Array(values.as_slice().iter().map(from_value).collect()),
        AMQPValue::Timestamp(seconds) => FieldValue::Timestamp(*seconds),
        AMQPValue::FieldTable(table) => FieldValue::Table(from_table(table)),
        AMQPValue::ByteArray(bytes) => FieldValue::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::Void => FieldValue::Void,
    }
}

/// Properties and headers as `lapin` sends them.
pub(super) fn to_properties(message: &Message) -> Result<BasicProperties, lapin::Error> {
    let from = &message.properties;
    let mut to = BasicProperties::default().with_headers(to_table(&message.headers)?);
    if let Some(text) = &from.content_type {
        to = to.with_content_type(short(text)?);
    }
    if let Some(text) = &from.content_encoding {
        to = to.with_content_encoding(short(text)?);
    }
    if let Some(mode) = from.delivery_mode {
        to = to.with_delivery_mode(mode);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority);
    }
    if let Some(text) = &from.correlation_id {
        to = to.with_correlation_id(short(text)?);
    }
    if let Some(text) = &from.reply_to {
        to = to.with_reply_to(short(text)?);
    }
    if let Some(text) = &from.expiration {
        to = to.with_expiration(short(text)?);
    }
    if let Some(text) = &from.message_id {
        to = to.with_message_id(short(text)?);
    }
    if let Some(seconds) = from.timestamp {
        to = to.with_timestamp(seconds);
    }
    if let Some(text) = &from.message_type {
        to = to.with_type(short(text)?);
    }
    if let Some(text) = &from.user_id {
        to = to.with_user_id(short(text)?);
    }
    if let Some(text) = &from.app_id {
        to = to.with_app_id(short(text)?);
    }
    Ok(to)
}

/// A received message.
pub(super) fn from_delivery(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    Message {
        properties: Properties {
            content_type: text(properties.content_type()),
            content_encoding: text(properties.content_encoding()),
            delivery_mode: *properties.delivery_mode(),
            priority: *properties.priority(),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            expiration: text(properties.expiration()),
            message_id: text(properties.message_id()),
            timestamp: *properties.timestamp(),
            message_type: text(properties.kind()),
            user_id: text(properties.user_id()),
            app_id: text(properties.app_id()),
        },
        headers: properties.headers().as_ref().map(from_table).unwrap_or_default(),
        body,
    }
}
