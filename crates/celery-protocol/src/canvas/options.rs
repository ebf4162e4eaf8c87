//! One task message from a signature and its options.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::error::CanvasError;
use super::plan::Outgoing;
use super::sender::Sender;
use crate::routing::RouteWish;
use crate::task::{Signature, TaskRequest};
use crate::time::WireTime;
use crate::value::FieldValue;

impl Sender<'_> {
    /// The message for a single task: `more` over the signature's options, `args` in front of its arguments.
    pub(super) fn message(
        &self,
        signature: Signature,
        args: &[Value],
        more: Map<String, Value>,
    ) -> Result<Outgoing, CanvasError> {
        let options = SignatureOptions(merged(&signature.options, more));
        let id = options.text("task_id").ok_or(CanvasError::Invalid("no task id"))?;
        let mut task = TaskRequest::builder(signature.task, id).build();
        task.args = if signature.immutable { Vec::new() } else { args.to_vec() };
        task.args.extend(signature.args);
        task.kwargs = signature.kwargs;

        let headers = &mut task.headers;
        headers.root_id = self.root_id.map(str::to_owned);
        headers.parent_id = self.parent_id.map(str::to_owned);
        headers.origin = self.origin.map(str::to_owned);
        headers.shadow = options.text("shadow").map(str::to_owned);
        headers.group = options.text("group_id").map(str::to_owned);
        headers.group_index = options.get("group_index").and_then(Value::as_i64);
        headers.retries =
            options.get("retries").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        // A Python worker that replaces a task (`Task.replace`) marks the rest of its chain.
        headers.replaced_task_nesting = options.get("replaced_task_nesting").and_then(Value::as_i64).unwrap_or(0);
        headers.timelimit.hard = options.number("time_limit");
        headers.timelimit.soft = options.number("soft_time_limit");
        headers.argsrepr = options.text("argsrepr").map(str::to_owned);
        headers.kwargsrepr = options.text("kwargsrepr").map(str::to_owned);
        if let Some(ignore) = options.get("ignore_result").and_then(Value::as_bool) {
            headers.ignore_result = Some(ignore);
        }
        headers.eta = match options.get("countdown") {
            Some(countdown) => Some(self.after(countdown, "a countdown that is no number")?),
            None => options.get("eta").map(|eta| time(eta, "an eta that is no time")).transpose()?,
        };
        // No expiration property: the broker would drop the message silently.
        headers.expires = match options.get("expires") {
            Some(seconds @ Value::Number(_)) => Some(self.after(seconds, "an expiry that is no time")?),
            Some(other) => Some(time(other, "an expiry that is no time")?),
            None => None,
        };
        self.stamp(&options, headers);
        if let Some(Value::Object(more)) = options.get("headers") {
            for (name, value) in more {
                headers.extra.insert(name.as_str(), value);
            }
        }

        task.embed.callbacks = options.signatures("link", "a link that is no signature")?;
        task.embed.errbacks = options.signatures("link_error", "a link_error that is no signature")?;
        task.embed.chain = options.signatures("chain", "a chain that is no list of signatures")?;
        task.embed.chord = match options.get("chord") {
            Some(chord) => {
                Some(Signature::from_json(chord).ok_or(CanvasError::Invalid("a chord that is no signature"))?)
            }
            None => None,
        };
        task.properties.reply_to = options.text("reply_to").or(self.reply_to).map(str::to_owned);
        let priority = options.get("priority").and_then(Value::as_u64).and_then(|number| u8::try_from(number).ok());
        task.properties.priority = Some(priority.or(self.priority).unwrap_or(0));
        let owned = |name: &str| options.text(name).map(str::to_owned);
        let route =
            RouteWish { queue: options.queue(), exchange: owned("exchange"), routing_key: owned("routing_key") };
        Ok(Outgoing { task, route, compression: owned("compression") })
    }

    /// The sender's stamps and the signature's own, which win.
    fn stamp(&self, options: &SignatureOptions, headers: &mut crate::task::TaskHeaders) {
        let mut names = Vec::new();
        for (name, value) in self.stamps.iter().flat_map(|stamps| stamps.iter()) {
            headers.stamps.insert(name, value.clone());
            names.push(name.to_owned());
        }
        for name in options.get("stamped_headers").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            let value = options.get(name).map_or(FieldValue::Void, FieldValue::from);
            headers.stamps.insert(name, value);
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        headers.stamped_headers = (!names.is_empty()).then_some(names);
    }

    fn after(&self, seconds: &Value, what: &'static str) -> Result<WireTime, CanvasError> {
        let seconds = seconds.as_f64().ok_or(CanvasError::Invalid(what))?;
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| CanvasError::Invalid(what))?;
        let at: Timestamp = self.now.checked_add(wait).map_err(|_| CanvasError::Invalid(what))?;
        Ok(at.into())
    }
}

/// A time as text, or as kombu's tagged `datetime`.
fn time(value: &Value, what: &'static str) -> Result<WireTime, CanvasError> {
    let text = match value {
        Value::String(text) => Some(text.as_str()),
        Value::Object(tagged) => tagged.get("__value__").and_then(Value::as_str),
        _ => None,
    };
    text.and_then(WireTime::parse).ok_or(CanvasError::Invalid(what))
}

/// SignatureOptions by name; null counts as absent.
struct SignatureOptions(Map<String, Value>);

impl SignatureOptions {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> Option<Number> {
        match self.get(name) {
            Some(Value::Number(number)) => Some(number.clone()),
            _ => None,
        }
    }

    /// A queue is a text, or an object with a name.
    fn queue(&self) -> Option<String> {
        match self.get("queue")? {
            Value::Object(described) => described.get("name").and_then(Value::as_str).map(str::to_owned),
            _ => self.text("queue").map(str::to_owned),
        }
    }

    fn signatures(&self, name: &str, what: &'static str) -> Result<Option<Vec<Signature>>, CanvasError> {
        let read = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(list)) => list.iter().map(Signature::from_json).collect(),
            Some(single) => Signature::from_json(single).map(|signature| vec![signature]),
        };
        read.map(Some).ok_or(CanvasError::Invalid(what))
    }
}

/// `more` over `options`, except for those options that must not change once they are set.
pub(super) fn merged(options: &Map<String, Value>, more: Map<String, Value>) -> Map<String, Value> {
    let mut merged = options.clone();
    let stamped: Vec<Value> = match options.get("stamped_headers") {
        Some(Value::Array(names)) => names.clone(),
        _ => Vec::new(),
    };
    for (name, value) in more {
        let fixed = matches!(name.as_str(), "group_id" | "group_index" | "stamped_headers")
            || stamped.iter().any(|stamp| stamp.as_str() == Some(&name));
        if !(fixed && merged.contains_key(&name)) {
            merged.insert(name, value);
        }
    }
    merged
}
