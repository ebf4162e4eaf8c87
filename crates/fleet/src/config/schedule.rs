//! Periodic tasks that the monitor sends.

use std::collections::BTreeMap;
use std::time::Duration;

use celery_runtime::scheduler::{Crontab, Schedule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contract::MONITOR_QUEUE;

/// The most entries.
const MAX_ENTRIES: usize = 256;
/// The longest interval, expiry or jitter: ten years.
const MAX_SECONDS: f64 = 315_576_000.0;

/// One entry of `schedule`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledTask {
    /// Its name.
    pub name: String,
    /// The task that is sent.
    pub task: String,
    /// The queue it is sent to.
    pub queue: String,
    /// Its times.
    pub schedule: Schedule,
    /// The task's keyword arguments.
    pub kwargs: Map<String, Value>,
    /// The task is not started after this time; `None`: until it is due again.
    pub expires: Option<Duration>,
    /// The longest random delay of each time.
    pub jitter: Duration,
}

/// An entry as it is written. Scalars of a configuration file are text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    task: String,
    queue: Option<String>,
    crontab: Option<String>,
    every: Option<Value>,
    kwargs: Option<Value>,
    expires: Option<Value>,
    jitter: Option<Value>,
}

/// The entries in JSON text; `None` if it is malformed.
pub(super) fn parse(text: &str) -> Option<Vec<ScheduledTask>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let written: BTreeMap<String, Written> = serde_json::from_str(text).ok()?;
    (written.len() <= MAX_ENTRIES).then_some(())?;
    written.into_iter().map(|(name, written)| entry(name, written)).collect()
}

fn entry(name: String, written: Written) -> Option<ScheduledTask> {
    let queue = written.queue.unwrap_or_else(|| MONITOR_QUEUE.to_owned());
    let fits = |text: &str| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    (fits(&name) && fits(&written.task) && fits(&queue)).then_some(())?;
    let schedule = match (written.crontab, written.every) {
        (Some(line), None) => Schedule::Crontab(Crontab::parse(&line).ok()?),
        (None, Some(every)) => Schedule::Interval(seconds(&every).filter(|every| *every >= Duration::from_secs(1))?),
        _ => return None,
    };
    let kwargs = match written.kwargs {
        None => Map::new(),
        Some(Value::Object(kwargs)) => kwargs,
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        Some(_) => return None,
    };
    Some(ScheduledTask {
        name,
        task: written.task,
        queue,
        schedule,
        kwargs,
        expires: match written.expires {
            Some(value) => Some(seconds(&value).filter(|expires| !expires.is_zero())?),
            None => None,
        },
        jitter: match written.jitter {
            Some(value) => seconds(&value)?,
            None => Duration::ZERO,
        },
    })
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        other => other.as_f64()?,
    };
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| Duration::try_from_secs_f64(seconds).ok())?
}
