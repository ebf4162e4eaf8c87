//! The arguments of a task, and binding them to typed values.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::TaskError;

/// Positional and keyword arguments as the caller sent them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments {
    /// The task's name, for messages.
    pub task: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
}

impl Arguments {
    /// Binds to a struct with these fields, in the order of the Python signature: positional arguments fill them from the
    /// left, keyword arguments by name. A field not sent is absent, so give optional ones `#[serde(default)]`.
    ///
    /// # Errors
    /// `TypeError` in Python's words for a surplus, doubled, unknown or missing argument; `TypeError` also for a value of
    /// the wrong JSON type and `ValueError` for one of the right type that is not acceptable.
    pub fn bind<T: DeserializeOwned>(self, field_names: &[&str]) -> Result<T, TaskError> {
        let task = self.task.clone();
        let bound = self.by_name(field_names)?;
        serde_json::from_value(Value::Object(bound)).map_err(|error| explain(&task, &error))
    }

    /// Binds to a tuple, one element per name. An argument not sent is `null`, so an optional one is an `Option`.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_tuple<T: DeserializeOwned>(self, field_names: &[&str]) -> Result<T, TaskError> {
        let task = self.task.clone();
        let mut bound = self.by_name(field_names)?;
        let values = field_names.iter().map(|name| bound.remove(*name).unwrap_or(Value::Null)).collect();
        serde_json::from_value(Value::Array(values)).map_err(|error| explain(&task, &error))
    }

    /// Accepts no argument at all.
    ///
    /// # Errors
    /// `TypeError` if there are any.
    pub fn bind_none(self) -> Result<(), TaskError> {
        self.by_name(&[]).map(drop)
    }

    fn by_name(self, field_names: &[&str]) -> Result<Map<String, Value>, TaskError> {
        let Self { task, args, kwargs } = self;
        if args.len() > field_names.len() {
            let (allowed, given) = (field_names.len(), args.len());
            return Err(TaskError::type_error(format!(
                "{task}() takes {allowed} positional argument{} but {given} {} given",
                if allowed == 1 { "" } else { "s" },
                if given == 1 { "was" } else { "were" },
            )));
        }
        let mut bound = Map::new();
        for (name, value) in field_names.iter().zip(args) {
            bound.insert((*name).to_owned(), value);
        }
        for (name, value) in kwargs {
            if !field_names.contains(&name.as_str()) {
                return Err(TaskError::type_error(format!(
                    "{task}() got an unexpected keyword argument {}",
                    quoted(&name)
                )));
            }
            if bound.contains_key(&name) {
                return Err(TaskError::type_error(format!(
                    "{task}() got multiple values for argument {}",
                    quoted(&name)
                )));
            }
            bound.insert(name, value);
        }
        Ok(bound)
    }
}

/// A name from outside, cut to a length fit for a message.
fn quoted(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push_str("...");
    }
    format!("'{text}'")
}

fn explain(task: &str, error: &serde_json::Error) -> TaskError {
    let text = error.to_string();
    // serde's "missing field `x`" is Python's "missing 1 required positional argument: 'x'".
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name)
    {
        return TaskError::type_error(format!("{task}() missing 1 required positional argument: '{name}'"));
    }
    if text.starts_with("invalid type") {
        return TaskError::type_error(format!("{task}() got an argument of the wrong type: {text}"));
    }
    TaskError::value_error(format!("{task}() got an invalid argument: {text}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Fields {
        batch: String,
        #[serde(default)]
        force: bool,
    }

    const NAMES: [&str; 2] = ["batch", "force"];

    fn arguments(args: Value, kwargs: Value) -> Arguments {
        Arguments {
            task: "add-targets".into(),
            args: serde_json::from_value(args).unwrap(),
            kwargs: serde_json::from_value(kwargs).unwrap(),
        }
    }

    fn failure(args: Value, kwargs: Value) -> String {
        arguments(args, kwargs).bind::<Fields>(&NAMES).unwrap_err().to_string()
    }

    #[test]
    fn positional_and_keyword_arguments_bind_alike() {
        let wanted = Fields { batch: "b".into(), force: true };
        for (args, kwargs) in [
            (json!(["b", true]), json!({})),
            (json!(["b"]), json!({"force": true})),
            (json!([]), json!({"force": true, "batch": "b"})),
        ] {
            assert_eq!(arguments(args, kwargs).bind::<Fields>(&NAMES).unwrap(), wanted);
        }
        let tuple: (String, Option<bool>) = arguments(json!(["b"]), json!({})).bind_tuple(&NAMES).unwrap();
        assert_eq!(tuple, ("b".into(), None));
    }

    #[test]
    fn wrong_arguments_fail_in_pythons_words() {
        assert_eq!(
            failure(json!(["b", true, 1]), json!({})),
            "TypeError: add-targets() takes 2 positional arguments but 3 were given"
        );
        assert_eq!(
            failure(json!(["b"]), json!({"batch": "c"})),
            "TypeError: add-targets() got multiple values for argument 'batch'"
        );
        assert_eq!(
            failure(json!(["b"]), json!({"x": 1})),
            "TypeError: add-targets() got an unexpected keyword argument 'x'"
        );
        assert_eq!(
            failure(json!([]), json!({})),
            "TypeError: add-targets() missing 1 required positional argument: 'batch'"
        );
        assert!(
            failure(json!([1]), json!({}))
                .starts_with("TypeError: add-targets() got an argument of the wrong type: invalid type: integer `1`")
        );
        assert!(arguments(json!([1]), json!({})).bind_none().is_err());
    }

    #[test]
    fn a_hostile_name_is_cut_and_escaped() {
        let error = failure(json!([]), json!({ format!("{}\n", "x".repeat(9999)): 1 }));
        assert!(error.len() < 200 && !error.contains('\n'), "{error}");
    }
}
