//! Rate limits as Celery writes them.

use std::fmt;

use serde_json::Value;

use crate::python::{float_repr, repr};

/// How often a task may start, per second; 0 is without limit.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    per_second: f64,
    shown: Value,
}

/// Why a rate limit is invalid, with the text of a Python worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitError {
    /// Not a number, with the `repr` of the exception.
    #[error("Invalid rate limit string: {0}")]
    Invalid(String),
    /// Input that makes Python raise an exception, whose text is the answer.
    #[error("{0}")]
    Raised(String),
}

impl RateLimit {
    /// Reads `"10/m"`, `"0.5/s"`, `"100/h"`, a plain number (per second), or nothing (no limit).
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(value: &Value) -> Result<Self, RateLimitError> {
        let per_second = match value {
            Value::Null | Value::Bool(false) => 0.0,
            Value::Bool(true) => 1.0,
            Value::Number(number) => number.as_f64().unwrap_or_default(),
            Value::String(text) if text.is_empty() => 0.0,
            Value::String(text) => {
                let (operations, unit) = text.split_once('/').unwrap_or((text, ""));
                let seconds = match unit {
                    "" | "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    other => return Err(RateLimitError::Raised(format!("KeyError({})", repr(&Value::from(other))))),
                };
                let operations = operations.trim().parse::<f64>().map_err(|_| {
                    let message = format!("could not convert string to float: {}", repr(&Value::from(operations)));
                    RateLimitError::Invalid(format!("ValueError({})", repr(&Value::from(message))))
                })?;
                operations / seconds
            }
            other => {
                let message = format!("'{}' object is no rate", if other.is_array() { "list" } else { "dict" });
                return Err(RateLimitError::Raised(format!("TypeError({})", repr(&Value::from(message)))));
            }
        };
        if !per_second.is_finite() || per_second < 0.0 {
            let message = format!("{} is no rate", repr(value));
            return Err(RateLimitError::Invalid(format!("ValueError({})", repr(&Value::from(message)))));
        }
        Ok(Self { per_second, shown: value.clone() })
    }

    /// Starts per second; 0 is without limit.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

/// The text of the request.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Value::String(text) => f.write_str(text),
            Value::Number(number) if number.is_f64() => f.write_str(&float_repr(self.per_second)),
            other => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_read_as_celery_reads_them() {
        for (text, per_second) in [
            (json!("10/m"), 10.0 / 60.0),
            (json!("0.5/s"), 0.5),
            (json!("7"), 7.0),
            (json!("3600/h"), 1.0),
            (json!(4), 4.0),
            (json!(0), 0.0),
            (json!(""), 0.0),
            (json!(null), 0.0),
        ] {
            assert_eq!(RateLimit::parse(&text).map(|rate| rate.per_second()), Ok(per_second), "{text}");
        }
        for (text, error) in [
            (json!("ten/m"), "Invalid rate limit string: ValueError(\"could not convert string to float: 'ten'\")"),
            (json!("10/d"), "KeyError('d')"),
            (json!("nan"), "Invalid rate limit string: ValueError(\"'nan' is no rate\")"),
            (json!(-1), "Invalid rate limit string: ValueError('-1 is no rate')"),
            (json!([]), "TypeError(\"'list' object is no rate\")"),
        ] {
            assert_eq!(RateLimit::parse(&text).map_err(|error| error.to_string()), Err(error.to_owned()), "{text}");
        }
    }
}
