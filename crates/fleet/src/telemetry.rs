//! Logs: one line per event on standard error, each with the worker it comes from.
//!
//! Lines are for people (coloured on a terminal) or one JSON object each. A worker runs inside the span made by
//! [`worker_span`]; its name is on every line below it, so that several workers in one process stay apart. Whatever a
//! message holds is written on one line: control characters are escaped.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::Config;
use crate::clock::{Clock as _, SystemClock};

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// The worker of lines that come from outside any worker's span, in a process that is one worker.
static PROCESS_WORKER: OnceLock<String> = OnceLock::new();

/// Starts logging for this process as `config` says. Only the first call has an effect: an embedded fleet logs as the
/// program around it decided.
pub fn init(config: &Config) {
    init_with(&config.log_level, config.log_json);
}

/// [`init`] without a configuration: `level` as `log_level` takes it (`info` when it is malformed).
pub fn init_with(level: &str, json: bool) {
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return;
    }
    let format = if json {
        Format::Json
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Format::Human { colour: !plain && std::io::stderr().is_terminal() }
    };
    let layer = Lines { format, write: |line: String| drop(std::io::stderr().lock().write_all(line.as_bytes())) };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(level)));
    // Fails only when the program around an embedded fleet logs already, which is then how it is.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Names the worker that this process is, for lines that libraries write outside its span.
pub fn set_process_worker(worker: &str) {
    // The first name stays: a process is one worker or none.
    let _ = PROCESS_WORKER.set(worker.to_owned());
}

/// Logs panics as one line each instead of letting them print.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.location = place, "panic: {message}");
    }));
}

/// Whether this process logs.
#[must_use]
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::SeqCst)
}

/// The span every worker runs in: its name, role and instance on every line.
#[must_use]
pub fn worker_span(worker: &str, instance: &str) -> Span {
    tracing::info_span!("worker", worker, worker.instance = instance)
}

/// Libraries are told to be quieter than we are, unless named.
fn filter(level: &str) -> Targets {
    let asked: Targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let ours = asked.default_level().unwrap_or(LevelFilter::INFO);
    let quiet = ["hyper", "hyper_util", "notify", "async_global_executor", "rustls", "polling", "async_io"];
    let mut filter = Targets::new().with_default(ours);
    for library in quiet {
        filter = filter.with_target(library, ours.min(LevelFilter::WARN));
    }
    // What lapin calls an error (a refused declaration, a lost connection) is handled or reported by us, with what it means.
    filter = filter.with_target("lapin", LevelFilter::OFF);
    for (target, level) in asked.iter() {
        filter = filter.with_target(target.to_owned(), level);
    }
    filter
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Human { colour: bool },
    Json,
}

/// The fields of a span or an event, in order.
#[derive(Clone, Debug, Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field.name(), Value::String(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field.name(), Value::String(value.to_owned()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }
}

/// Writes each event as one line.
struct Lines<W> {
    format: Format,
    write: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(String) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut all = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in &fields.fields {
                    all.put(name, value.clone());
                }
            }
        }
        if let Some(worker) = PROCESS_WORKER.get()
            && !all.fields.iter().any(|(name, _)| *name == "worker")
        {
            all.put("worker", worker.as_str().into());
        }
        event.record(&mut all);
        let millis = SystemClock.unix_millis();
        let metadata = event.metadata();
        let line = match self.format {
            Format::Json => json_line(millis, *metadata.level(), metadata.target(), all),
            Format::Human { colour } => human_line(millis, *metadata.level(), &all, colour),
        };
        (self.write)(line);
    }
}

fn timestamp(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map(|time| format!("{time:.3}")).unwrap_or_default()
}

fn json_line(millis: i64, level: Level, target: &str, fields: Fields) -> String {
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

fn human_line(millis: i64, level: Level, fields: &Fields, colour: bool) -> String {
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

/// One line stays one line, and a terminal obeys nobody who can name a file.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What is logged meanwhile.
    pub(crate) fn lines(format: Format, work: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(String::new()));
        let sink = written.clone();
        let layer = Lines { format, write: move |line: String| sink.lock().unwrap().push_str(&line) };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(filter("info"))), work);
        written.lock().unwrap().clone()
    }

    #[test]
    fn every_line_names_its_worker() {
        let json = lines(Format::Json, || {
            worker_span("targets-worker", "host-1").in_scope(|| {
                tracing::info_span!("task", task.id = "t-1").in_scope(|| {
                    tracing::info!(batch.drops = 3, "batch of 3 drops");
                });
            });
        });
        let line: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["worker"], "targets-worker");
        assert_eq!(line["worker.instance"], "host-1");
        assert_eq!(line["task.id"], "t-1");
        assert_eq!(line["batch.drops"], 3);
        assert_eq!(line["message"], "batch of 3 drops");
        let human = lines(Format::Human { colour: false }, || {
            worker_span("targets-worker", "host-1").in_scope(|| tracing::warn!(path = "a b", "odd"));
        });
        assert!(human.ends_with("WARN  targets-worker: odd path=\"a b\"\n"), "{human}");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        for format in [Format::Json, Format::Human { colour: false }] {
            let written = lines(format, || tracing::error!(name = "x\nERROR forged\u{1b}[2J", "a\nb"));
            assert_eq!(written.matches('\n').count(), 1, "{written}");
            assert!(!written.contains('\u{1b}'));
        }
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        assert!(!filter("info").would_enable("lapin::channels", &Level::ERROR));
        assert!(!filter("debug").would_enable("hyper::proto", &Level::INFO));
        assert!(filter("info").would_enable("targets_worker", &Level::INFO));
        assert!(filter("info,lapin=debug").would_enable("lapin::channel", &Level::DEBUG));
    }
}
