//! Signatures, and the part of a task's body that names the tasks to follow.

use serde_json::{Map, Value, json};

/// A description of a task to send later.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// The name of the task.
    pub task: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
    /// The options for sending it: `task_id`, `reply_to`, `queue`, `countdown`, `link` and others.
    pub options: Map<String, Value>,
    /// `chain`, `group` or `chord` if this stands for several tasks.
    pub subtask_type: Option<String>,
    /// Whether the result of the previous task stays out of the arguments.
    pub immutable: bool,
    /// All other keys, such as `chord_size`.
    pub extra: Map<String, Value>,
}

impl Signature {
    /// A signature of `task` with these positional arguments.
    #[must_use]
    pub fn new(task: impl Into<String>, args: Vec<Value>) -> Self {
        Self {
            task: task.into(),
            args,
            kwargs: Map::new(),
            options: Map::new(),
            subtask_type: None,
            immutable: false,
            extra: Map::new(),
        }
    }

    /// Sets an option.
    #[must_use]
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Keeps the result of the previous task out of the arguments.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// The signature as JSON, keys in Celery's order.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "task": self.task,
            "args": self.args,
            "kwargs": self.kwargs,
            "options": self.options,
            "subtask_type": self.subtask_type,
            "immutable": self.immutable,
        });
        if let Value::Object(map) = &mut value {
            map.extend(self.extra.clone());
        }
        value
    }

    /// Reads a signature; every key but `task` may be missing or null.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let mut signature = Self::new(map.get("task")?.as_str()?, Vec::new());
        for (key, value) in map {
            match (key.as_str(), value) {
                ("task", _) => {}
                ("args", Value::Array(args)) => signature.args.clone_from(args),
                ("kwargs", Value::Object(kwargs)) => signature.kwargs.clone_from(kwargs),
                ("options", Value::Object(options)) => signature.options.clone_from(options),
                ("subtask_type", Value::String(kind)) => signature.subtask_type = Some(kind.clone()),
                ("immutable", Value::Bool(immutable)) => signature.immutable = *immutable,
                ("args" | "kwargs" | "options" | "subtask_type" | "immutable", Value::Null) => {}
                ("args" | "kwargs" | "options" | "subtask_type" | "immutable", _) => return None,
                (other, value) => {
                    signature.extra.insert(other.to_owned(), value.clone());
                }
            }
        }
        Some(signature)
    }
}

/// The tasks that follow a task: the third element of a protocol 2 body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embed {
    /// The tasks to send with the result when this one succeeds.
    pub callbacks: Option<Vec<Signature>>,
    /// The tasks to send with this one's id when it fails.
    pub errbacks: Option<Vec<Signature>>,
    /// The rest of a chain in reverse: the last element runs next.
    pub chain: Option<Vec<Signature>>,
    /// The body of the chord to which this task belongs.
    pub chord: Option<Signature>,
    /// All other keys.
    pub extra: Map<String, Value>,
}

impl Embed {
    /// The object as JSON, keys in Celery's order.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("callbacks".to_owned(), list_to_json(self.callbacks.as_deref()));
        map.insert("errbacks".to_owned(), list_to_json(self.errbacks.as_deref()));
        map.insert("chain".to_owned(), list_to_json(self.chain.as_deref()));
        map.insert("chord".to_owned(), self.chord.as_ref().map_or(Value::Null, Signature::to_json));
        map.extend(self.extra.clone());
        map
    }

    /// Reads the object.
    ///
    /// # Errors
    /// The name of the invalid key: the tasks that follow must not be lost.
    pub(super) fn from_json(map: &Map<String, Value>) -> Result<Self, &'static str> {
        let mut embed = Self::default();
        for (key, value) in map {
            match key.as_str() {
                "callbacks" => embed.callbacks = list_from_json(value).ok_or("callbacks")?,
                "errbacks" => embed.errbacks = list_from_json(value).ok_or("errbacks")?,
                "chain" => embed.chain = list_from_json(value).ok_or("chain")?,
                "chord" if value.is_null() => {}
                "chord" => embed.chord = Some(Signature::from_json(value).ok_or("chord")?),
                other => {
                    embed.extra.insert(other.to_owned(), value.clone());
                }
            }
        }
        Ok(embed)
    }
}

fn list_to_json(signatures: Option<&[Signature]>) -> Value {
    signatures.map_or(Value::Null, |list| list.iter().map(Signature::to_json).collect())
}

/// `None` if it is neither null nor a list of signatures; a single signature is a list of one.
fn list_from_json(value: &Value) -> Option<Option<Vec<Signature>>> {
    match value {
        Value::Null => Some(None),
        Value::Array(values) => values.iter().map(Signature::from_json).collect::<Option<_>>().map(Some),
        single => Some(Some(vec![Signature::from_json(single)?])),
    }
}
