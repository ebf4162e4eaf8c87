//! The metrics every worker process has. Labels are bounded: only names that the program itself gives.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tuf_core::time::UtcTime;

use crate::identity::ProcessIdentity;

/// The outcome of a task or a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkOutcome {
    /// The work was done, or was done before.
    Success,
    /// A fault of the caller.
    Refused,
    /// The state it builds on does not exist yet.
    Waiting,
    /// A fault of the machine; another attempt may succeed.
    Retry,
    /// An operator has to act.
    Alarm,
    /// A panic.
    Panic,
}

impl WorkOutcome {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::Retry => "retry",
            Self::Alarm => "alarm",
            Self::Panic => "panic",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

/// Makes histograms of durations: 17 buckets from 1 ms to 65 s.
#[derive(Clone, Copy, Debug)]
pub struct DurationHistogram;

impl MetricConstructor<Histogram> for DurationHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 17))
    }
}

/// The metrics of one worker process, and the registry that its own metrics join; clones share them.
#[derive(Clone)]
pub struct ProcessMetrics {
    registered: Arc<RegisteredMetrics>,
}

struct RegisteredMetrics {
    registry: Registry,
    tasks: Family<TaskLabels, Counter>,
    task_seconds: Family<TaskLabel, Histogram, DurationHistogram>,
    last_work: Gauge,
    alarm: Gauge,
    ready: Gauge,
    broker_connected: Gauge,
}

impl fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessMetrics")
    }
}

impl ProcessMetrics {
    /// Fresh metrics of the process `identity`, all of them named `prefix_…`. `own` registers the metrics that only this
    /// system has; they are rendered with the others.
    #[must_use]
    pub fn new(prefix: &str, identity: &ProcessIdentity, own: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        let build = Info::new(vec![
            ("worker".to_owned(), identity.worker.clone()),
            ("version".to_owned(), identity.version.clone()),
            ("instance".to_owned(), identity.instance.clone()),
        ]);
        registry.register("build", "Worker, version and instance of this process", build);
        let tasks = Family::default();
        let task_seconds = Family::new_with_constructor(DurationHistogram);
        let [last_work, alarm, ready, broker_connected]: [Gauge; 4] = Default::default();
        let r = &mut registry;
        r.register("tasks", "Tasks and reconciliations by outcome", tasks.clone());
        r.register("task_duration_seconds", "Duration of tasks and reconciliations", task_seconds.clone());
        r.register("last_work_timestamp_seconds", "End of the last piece of work that succeeded", last_work.clone());
        r.register("alarm", "1 while an operator has to act", alarm.clone());
        r.register("ready", "1 while the worker can do its job", ready.clone());
        r.register("broker_connected", "1 while the broker is connected", broker_connected.clone());
        own(r);
        let registered = RegisteredMetrics { registry, tasks, task_seconds, last_work, alarm, ready, broker_connected };
        Self { registered: Arc::new(registered) }
    }

    /// Counts one task, or one reconciliation (`task` = `reconcile`).
    pub fn task(&self, task: &'static str, outcome: WorkOutcome, took: Duration) {
        self.registered.tasks.get_or_create(&TaskLabels { task, outcome: outcome.as_str() }).inc();
        self.registered.task_seconds.get_or_create(&TaskLabel { task }).observe(took.as_secs_f64());
    }

    /// Work succeeded at `now`.
    pub fn worked(&self, now: UtcTime) {
        self.registered.last_work.set(now.unix());
    }

    /// Whether an operator has to act.
    pub fn alarm(&self, alarm: bool) {
        self.registered.alarm.set(i64::from(alarm));
    }

    /// Whether the worker can do its job.
    pub fn ready(&self, ready: bool) {
        self.registered.ready.set(i64::from(ready));
    }

    /// Whether the broker is connected.
    pub fn broker_connected(&self, connected: bool) {
        self.registered.broker_connected.set(i64::from(connected));
    }

    /// Every metric as text of `format`.
    #[must_use]
    pub fn render(&self, format: MetricsFormat) -> String {
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registered.registry);
        match format {
            MetricsFormat::OpenMetrics => text,
            MetricsFormat::Prometheus => prometheus_text(&text),
        }
    }
}

/// A format of metrics as text. The names and values of the samples are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0, ending with `# EOF`.
    OpenMetrics,
    /// The text format of Prometheus, which every tool of its world reads; `promtool check metrics` reads no other.
    Prometheus,
}

impl MetricsFormat {
    /// The content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as the text format of Prometheus. There a family has the full name of its samples, the type `info` does not
/// exist, and neither do units and the end mark.
fn prometheus_text(openmetrics: &str) -> String {
    // The kind of a family stands after its help, which has its name too.
    let kinds = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kinds: HashMap<&str, &str> = kinds.collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let comment = line.strip_prefix("# ").and_then(|comment| comment.split_once(' '));
        match comment {
            Some((keyword @ ("HELP" | "TYPE"), rest)) => {
                let (family, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let (suffix, kind) = match kinds.get(family) {
                    Some(&"counter") => ("_total", "counter"),
                    Some(&"info") => ("_info", "gauge"),
                    Some(kind) => ("", *kind),
                    None => ("", "untyped"),
                };
                let rest = if keyword == "TYPE" { kind } else { rest };
                text.push_str(&format!("# {keyword} {family}{suffix} {rest}\n"));
            }
            _ if line.starts_with('#') => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_of_the_process_and_of_the_system_are_rendered_together() {
        let identity = ProcessIdentity::new("idle-worker", "1.2.3", "host");
        let own = Gauge::<i64>::default();
        let metrics =
            ProcessMetrics::new("example", &identity, |registry| registry.register("queue", "Q", own.clone()));
        own.set(7);
        metrics.task("sleep", WorkOutcome::Success, Duration::from_millis(3));
        metrics.broker_connected(true);
        let text = metrics.render(MetricsFormat::OpenMetrics);
        for line in [
            "example_build_info{worker=\"idle-worker\",version=\"1.2.3\",instance=\"host\"} 1",
            "example_tasks_total{task=\"sleep\",outcome=\"success\"} 1",
            "example_broker_connected 1",
            "example_queue 7",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing from\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
    #[test]
    fn an_info_and_a_counter_have_the_names_of_their_samples_in_the_text_format_of_prometheus() {
        let metrics = ProcessMetrics::new("example", &ProcessIdentity::new("w", "1", "host"), |_| ());
        metrics.task("sleep", WorkOutcome::Success, Duration::from_millis(3));
        let text = metrics.render(MetricsFormat::Prometheus);
        for line in [
            "# HELP example_build_info Worker, version and instance of this process.",
            "# TYPE example_build_info gauge",
            "# TYPE example_tasks_total counter",
            "example_tasks_total{task=\"sleep\",outcome=\"success\"} 1",
            "# TYPE example_task_duration_seconds histogram",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing from\n{text}");
        }
        assert!(!text.contains("EOF"));
    }
}
