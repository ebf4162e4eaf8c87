//! From a tree of JSON values to canonical bytes.

use serde_json::Value;

use super::encode::{write_str, write_u64};
use super::error::{CanonicalError, INTEGER_LIMIT, MAX_NESTING};

/// The canonical form of a JSON value. Keys are sorted here, in whichever order the value keeps them.
///
/// # Errors
/// [`CanonicalError`] for floats, integers of 2^53 or more, and values nested too deep.
pub fn value_to_canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write_value(&mut out, value, 0)?;
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), CanonicalError> {
    if depth > MAX_NESTING {
        return Err(CanonicalError::TooDeep);
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            if let Some(magnitude) = number.as_u64() {
                write_magnitude(out, magnitude)?;
            } else if let Some(negative) = number.as_i64() {
                out.push(b'-');
                write_magnitude(out, negative.unsigned_abs())?;
            } else {
                return Err(CanonicalError::Float { at: None });
            }
        }
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_str(out, key);
                out.push(b':');
                write_value(out, value, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_magnitude(out: &mut Vec<u8>, magnitude: u64) -> Result<(), CanonicalError> {
    if magnitude >= INTEGER_LIMIT {
        return Err(CanonicalError::Integer { at: None });
    }
    write_u64(out, magnitude);
    Ok(())
}
