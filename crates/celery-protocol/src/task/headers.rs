//! The headers of a task message.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Number;

use super::error::DecodeError;
use crate::compression::shorten;
use crate::message::MAX_SHORT_STRING;
use crate::time::WireTime;
use crate::value::{FieldTable, FieldValue};

/// The headers of a task.
///
/// Senders of other versions know other headers, so all but the name and the id may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskHeaders {
    /// The language of the sender; workers ignore it.
    pub lang: Option<String>,
    /// The name of the task.
    pub task: String,
    /// The task id: any text, not always a UUID.
    pub id: String,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// The earliest time to run it.
    pub eta: Option<WireTime>,
    /// The latest time to run it.
    pub expires: Option<WireTime>,
    /// The group of which the task is a member.
    pub group: Option<String>,
    /// Its place in that group.
    pub group_index: Option<i64>,
    /// The number of retries so far.
    pub retries: u32,
    /// The time limits.
    pub timelimit: TimeLimit,
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// The arguments for display; if missing, made from the arguments on sending.
    pub argsrepr: Option<String>,
    /// The keyword arguments for display; if missing, made from them on sending.
    pub kwargsrepr: Option<String>,
    /// The sender, as `gen<pid>@<host>`.
    pub origin: Option<String>,
    /// Whether the sender does not want the result; `None` if it does not know the task.
    pub ignore_result: Option<bool>,
    /// How many times another task replaced this one.
    pub replaced_task_nesting: i64,
    /// Names of the entries in `stamps`.
    pub stamped_headers: Option<Vec<String>>,
    /// Stamps, which all tasks sent by this one inherit.
    pub stamps: FieldTable,
    /// All other headers, the user's own among them. One with the name of a known header is not sent.
    pub extra: FieldTable,
}

impl TaskHeaders {
    /// The headers of a new task without options.
    #[must_use]
    pub fn new(task: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            lang: Some("py".to_owned()),
            task: task.into(),
            id: id.into(),
            shadow: None,
            eta: None,
            expires: None,
            group: None,
            group_index: None,
            retries: 0,
            timelimit: TimeLimit::default(),
            root_id: None,
            parent_id: None,
            argsrepr: None,
            kwargsrepr: None,
            origin: None,
            ignore_result: Some(false),
            replaced_task_nesting: 0,
            stamped_headers: None,
            stamps: FieldTable::new(),
            extra: FieldTable::new(),
        }
    }

    /// Reads headers of any types. Unknown ones go to `extra`.
    pub(super) fn from_table(table: &FieldTable) -> Result<Self, DecodeError> {
        let mut headers = Self { lang: None, ignore_result: None, ..Self::new("", "") };
        let mut extra = Vec::new();
        for (key, value) in table.iter() {
            match key {
                "lang" => headers.lang = text(value),
                "task" => headers.task = required("task", value)?,
                "id" => headers.id = required("id", value)?,
                "shadow" => headers.shadow = text(value),
                "eta" => headers.eta = time("eta", value)?,
                "expires" => headers.expires = time("expires", value)?,
                "group" => headers.group = text(value),
                "group_index" => headers.group_index = integer(value),
                "retries" => headers.retries = integer(value).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                "timelimit" => headers.timelimit = TimeLimit::from_field(value),
                "root_id" => headers.root_id = text(value),
                "parent_id" => headers.parent_id = text(value),
                "argsrepr" => headers.argsrepr = text(value),
                "kwargsrepr" => headers.kwargsrepr = text(value),
                "origin" => headers.origin = text(value),
                "ignore_result" => headers.ignore_result = integer(value).map(|flag| flag != 0),
                "replaced_task_nesting" => headers.replaced_task_nesting = integer(value).unwrap_or(0),
                "stamped_headers" => headers.stamped_headers = names(value),
                "stamps" => headers.stamps = value.as_table().cloned().unwrap_or_default(),
                // The body is inflated by now, and written back so.
                "compression" => {}
                _ => extra.push((key.to_owned(), value.clone())),
            }
        }
        if headers.task.is_empty() || headers.id.is_empty() {
            return Err(DecodeError::NotATask("it has no task name or no id".to_owned()));
        }
        headers.extra = extra.into_iter().collect();
        Ok(headers)
    }

    /// The headers in Celery's order, with its defaults.
    pub(super) fn to_table(&self, argsrepr: String, kwargsrepr: String) -> FieldTable {
        let text = |value: &Option<String>| FieldValue::from(value.clone());
        let time = |value: &Option<WireTime>| FieldValue::from(value.as_ref().map(WireTime::as_str));
        let stamped = self.stamped_headers.as_ref().map_or(FieldValue::Void, |names| {
            FieldValue::Array(names.iter().map(|name| FieldValue::from(name.as_str())).collect())
        });
        let known = [
            ("lang", text(&self.lang)),
            ("task", self.task.clone().into()),
            ("id", self.id.clone().into()),
            ("shadow", text(&self.shadow)),
            ("eta", time(&self.eta)),
            ("expires", time(&self.expires)),
            ("group", text(&self.group)),
            ("group_index", self.group_index.into()),
            ("retries", i64::from(self.retries).into()),
            ("timelimit", self.timelimit.to_field()),
            ("root_id", self.root_id.clone().unwrap_or_else(|| self.id.clone()).into()),
            ("parent_id", text(&self.parent_id)),
            ("argsrepr", argsrepr.into()),
            ("kwargsrepr", kwargsrepr.into()),
            ("origin", text(&self.origin)),
            ("ignore_result", self.ignore_result.into()),
            ("replaced_task_nesting", self.replaced_task_nesting.into()),
            ("stamped_headers", stamped),
            ("stamps", self.stamps.clone().into()),
        ];
        let others = self.extra.iter().filter(|(name, _)| known.iter().all(|(taken, _)| taken != name));
        let mut entries: Vec<_> = others.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        entries.splice(0..0, known.map(|(name, value)| (name.to_owned(), value)));
        entries.into_iter().collect()
    }
}

/// The time limits of a task, in seconds. Integers and floats stay apart, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeLimit {
    /// The hard limit: after it the task is stopped.
    pub hard: Option<Number>,
    /// The soft limit: after it the task is asked to stop.
    pub soft: Option<Number>,
}

impl TimeLimit {
    /// The hard limit; `None` without one, or for one that is not above zero.
    #[must_use]
    pub fn hard_duration(&self) -> Option<Duration> {
        duration(self.hard.as_ref())
    }

    /// The soft limit; `None` without one, or for one that is not above zero.
    #[must_use]
    pub fn soft_duration(&self) -> Option<Duration> {
        duration(self.soft.as_ref())
    }

    fn from_field(value: &FieldValue) -> Self {
        let limits = value.as_array().unwrap_or_default();
        Self { hard: limits.first().and_then(number), soft: limits.get(1).and_then(number) }
    }

    fn to_field(&self) -> FieldValue {
        let field = |limit: &Option<Number>| limit.as_ref().map_or(FieldValue::Void, FieldValue::from);
        FieldValue::Array(vec![field(&self.hard), field(&self.soft)])
    }
}

fn duration(seconds: Option<&Number>) -> Option<Duration> {
    let seconds = seconds?.as_f64().filter(|seconds| *seconds > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn number(value: &FieldValue) -> Option<Number> {
    match value {
        FieldValue::F32(_) | FieldValue::F64(_) | FieldValue::Decimal { .. } => Number::from_f64(value.as_f64()?),
        FieldValue::Bool(_) => None,
        other => other.as_i64().map(Number::from),
    }
}

/// Text, or a number as text; `None` for an empty text.
pub(super) fn text(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::LongString(text) if text.is_empty() => None,
        FieldValue::LongString(text) => Some(text.clone()),
        FieldValue::Bool(_) => None,
        other => other.as_i64().map(|number| number.to_string()),
    }
}

pub(super) fn integer(value: &FieldValue) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn required(header: &str, value: &FieldValue) -> Result<String, DecodeError> {
    let found = text(value).unwrap_or_default();
    if found.len() > MAX_SHORT_STRING {
        return Err(DecodeError::NotATask(format!("its {header} is longer than {MAX_SHORT_STRING} bytes")));
    }
    Ok(found)
}

fn names(value: &FieldValue) -> Option<Vec<String>> {
    Some(value.as_array()?.iter().filter_map(FieldValue::as_str).map(str::to_owned).collect())
}

fn time(header: &'static str, value: &FieldValue) -> Result<Option<WireTime>, DecodeError> {
    let parsed = match value {
        FieldValue::Void => return Ok(None),
        FieldValue::LongString(text) if text.is_empty() => return Ok(None),
        FieldValue::LongString(text) => WireTime::parse(text),
        FieldValue::Timestamp(seconds) => {
            i64::try_from(*seconds).ok().and_then(|s| Timestamp::from_second(s).ok()).map(WireTime::from)
        }
        _ => None,
    };
    match parsed {
        Some(time) => Ok(Some(time)),
        None => Err(DecodeError::InvalidTime { header, value: shorten(&value.to_json().to_string()) }),
    }
}
