//! The forms of a log line.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tracing::Level;

use super::fields::LineFields;

/// The form of log lines.
#[derive(Clone, Copy, Debug)]
pub enum LogFormat {
    /// For people.
    Human {
        /// With colours of a terminal.
        colour: bool,
    },
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The line of one event, with its newline.
    pub(super) fn line(self, millis: i64, level: Level, target: &str, fields: LineFields) -> String {
        match self {
            Self::Json => json_line(millis, level, target, fields),
            Self::Human { colour } => human_line(millis, level, &fields, colour),
        }
    }
}

fn timestamp(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map(|time| format!("{time:.3}")).unwrap_or_default()
}

fn json_line(millis: i64, level: Level, target: &str, fields: LineFields) -> String {
    let mut line = Map::new();
    line.insert("timestamp".into(), timestamp(millis).into());
    line.insert("level".into(), level.as_str().to_ascii_lowercase().into());
    line.insert("target".into(), target.into());
    line.insert("message".into(), fields.message.into());
    for (name, value) in fields.fields {
        line.entry(name).or_insert(value);
    }
    let mut line = Value::Object(line).to_string();
    line.push('\n');
    line
}

fn human_line(millis: i64, level: Level, fields: &LineFields, colour: bool) -> String {
    let (dim, tint, plain) = match (colour, level) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
    };
    let worker = fields.fields.iter().find(|(name, _)| *name == "worker").map(|(_, value)| text(value));
    let mut line = format!(
        "{dim}{}{plain} {tint}{:<5}{plain} {}{}{}",
        timestamp(millis),
        level.as_str(),
        worker.as_deref().unwrap_or_default(),
        if worker.is_some() { ": " } else { "" },
        escape(&fields.message),
    );
    for (name, value) in &fields.fields {
        if !matches!(*name, "worker" | "worker.instance") {
            // Writing to a String cannot fail.
            let _ = write!(line, " {dim}{name}={plain}{}", text(value));
        }
    }
    line.push('\n');
    line
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
            format!("\"{}\"", escape(text).replace('"', "\\\""))
        }
        Value::String(text) => escape(text),
        other => other.to_string(),
    }
}

/// Keeps a message on its line, and terminal commands in file names from being obeyed.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}
