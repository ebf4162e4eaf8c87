//! The fuzz targets: each module takes any bytes and panics if a promise is broken.
//!
//! Compiled twice: into the tests, which replay the corpus, and into the fuzzer (`fuzz/`).

pub mod input;
pub mod messages;
pub mod task;
pub mod values;

use celery_protocol::Limits;
use serde_json::Value;

/// Tight enough that an input of a few kilobytes reaches every bound.
pub const LIMITS: Limits = Limits { body_bytes: 32 * 1024, depth: 24, values: 1000 };

/// Depth and number of values of what was read, which must be within [`LIMITS`].
pub fn assert_bounded(value: &Value) {
    fn count(value: &Value, depth: usize, values: &mut usize) -> usize {
        *values += 1;
        match value {
            Value::Array(items) => items.iter().map(|item| count(item, depth + 1, values)).max().unwrap_or(depth + 1),
            Value::Object(map) => map.values().map(|item| count(item, depth + 1, values)).max().unwrap_or(depth + 1),
            _ => depth,
        }
    }
    let mut values = 0;
    let depth = count(value, 0, &mut values);
    assert!(depth <= LIMITS.depth, "{depth} levels");
    assert!(values <= LIMITS.values, "{values} values");
}

/// An error says something, and does not repeat a hostile message at length.
pub fn assert_short(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() <= 1000, "{} bytes: {text}", text.len());
}

/// Equality by `Debug`, in which not-a-number equals itself.
pub fn assert_same<T: std::fmt::Debug>(left: &T, right: &T) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}
