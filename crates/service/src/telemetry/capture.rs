//! The log lines of one piece of work, for tests.

use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::filter::filter;
use super::format::LogFormat;
use super::layer::LineLayer;
use crate::sync::lock;

/// The lines that `work` logs on this thread at level `info`, instead of in the process's log. For tests of log lines.
pub fn captured_lines(format: LogFormat, work: impl FnOnce()) -> String {
    let written = Arc::new(Mutex::new(String::new()));
    let sink = written.clone();
    let write = move |line: String| lock(&sink).push_str(&line);
    let layer = LineLayer { format, write };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(filter("info"))), work);
    lock(&written).clone()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::telemetry::worker_span;

    #[test]
    fn every_line_names_its_worker() {
        let json = captured_lines(LogFormat::Json, || {
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
        let human = captured_lines(LogFormat::Human { colour: false }, || {
            worker_span("targets-worker", "host-1").in_scope(|| tracing::warn!(path = "a b", "odd"));
        });
        assert!(human.ends_with("WARN  targets-worker: odd path=\"a b\"\n"), "{human}");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        for format in [LogFormat::Json, LogFormat::Human { colour: false }] {
            let written = captured_lines(format, || tracing::error!(name = "x\nERROR forged\u{1b}[2J", "a\nb"));
            assert_eq!(written.matches('\n').count(), 1, "{written}");
            assert!(!written.contains('\u{1b}'));
        }
    }
}
