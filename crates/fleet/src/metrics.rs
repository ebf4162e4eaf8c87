//! Metrics of a worker, `tuf_fleet_*`, with labels that are bounded by what the fleet itself names.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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

/// How a task or a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It did what was asked, or found it done.
    Success,
    /// The caller's fault.
    Refused,
    /// The state below is not there yet.
    Waiting,
    /// The world's fault; the same again may succeed.
    Retry,
    /// Something is wrong that an operator has to look at.
    Alarm,
    /// A panic.
    Panic,
}

impl Outcome {
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabel {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FloorLabel {
    floor: String,
}

#[derive(Clone, Copy, Debug)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        // 1 ms to 65 s.
        Histogram::new(exponential_buckets(0.001, 2.0, 17))
    }
}

type F64Gauge = Gauge<f64, AtomicU64>;

/// The metrics of one worker; clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    tasks: Family<TaskLabels, Counter>,
    task_seconds: Family<TaskLabel, Histogram, Seconds>,
    versions: Family<RoleLabel, Gauge>,
    expiries: Family<RoleLabel, Gauge>,
    floors: Family<FloorLabel, Gauge>,
    last_work: Gauge,
    alarm: Gauge,
    ready: Gauge,
    broker_connected: Gauge,
    paused: Gauge,
    drops: Family<StateLabel, Gauge>,
    drops_finished: Family<StateLabel, Counter>,
    oldest_ready_seconds: F64Gauge,
    batch_drops: Histogram,
    publish_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Fresh metrics for `worker`.
    #[must_use]
    pub fn new(worker: &str, version: &str, instance: &str) -> Self {
        let mut registry = Registry::with_prefix("tuf_fleet");
        let build = Info::new(vec![
            ("worker".to_owned(), worker.to_owned()),
            ("version".to_owned(), version.to_owned()),
            ("instance".to_owned(), instance.to_owned()),
        ]);
        registry.register("build", "What runs here", build);
        let mut inner = Inner {
            registry,
            tasks: Family::default(),
            task_seconds: Family::new_with_constructor(Seconds),
            versions: Family::default(),
            expiries: Family::default(),
            floors: Family::default(),
            last_work: Gauge::default(),
            alarm: Gauge::default(),
            ready: Gauge::default(),
            broker_connected: Gauge::default(),
            paused: Gauge::default(),
            drops: Family::default(),
            drops_finished: Family::default(),
            oldest_ready_seconds: F64Gauge::default(),
            batch_drops: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            publish_seconds: Seconds.new_metric(),
        };
        let r = &mut inner.registry;
        r.register("tasks", "Tasks and reconciliations by how they ended", inner.tasks.clone());
        r.register("task_duration_seconds", "How long tasks and reconciliations took", inner.task_seconds.clone());
        r.register("role_version", "Metadata version of each role this worker writes", inner.versions.clone());
        r.register("role_expiry_timestamp_seconds", "When the metadata of each role expires", inner.expiries.clone());
        r.register("floor", "The floor: below these the worker never signs", inner.floors.clone());
        r.register(
            "last_work_timestamp_seconds",
            "End of the last piece of work that succeeded",
            inner.last_work.clone(),
        );
        r.register("alarm", "1 while something is wrong that an operator has to look at", inner.alarm.clone());
        r.register("ready", "1 while the worker can do its job", inner.ready.clone());
        r.register("broker_connected", "1 while the broker is connected", inner.broker_connected.clone());
        r.register("processing_paused", "1 while intake is paused", inner.paused.clone());
        r.register("drops", "Drops on disk by state", inner.drops.clone());
        r.register("drops_finished", "Drops that ended, by how", inner.drops_finished.clone());
        r.register(
            "oldest_ready_drop_age_seconds",
            "Age of the oldest drop that has not ended, ready or taken in",
            inner.oldest_ready_seconds.clone(),
        );
        r.register("batch_drops", "Drops per batch", inner.batch_drops.clone());
        r.register(
            "publish_duration_seconds",
            "From taking a batch in to its timestamp",
            inner.publish_seconds.clone(),
        );
        Self { inner: Arc::new(inner) }
    }

    /// Counts one task, or one reconciliation (`task` = `reconcile`).
    pub fn task(&self, task: &'static str, outcome: Outcome, took: Duration) {
        self.inner.tasks.get_or_create(&TaskLabels { task, outcome: outcome.as_str() }).inc();
        self.inner.task_seconds.get_or_create(&TaskLabel { task }).observe(took.as_secs_f64());
    }

    /// The metadata version of `role`.
    pub fn role_version(&self, role: &'static str, version: u64) {
        self.inner.versions.get_or_create(&RoleLabel { role }).set(gauge(version));
    }

    /// When the metadata of `role` expires.
    pub fn role_expiry(&self, role: &'static str, expires: UtcTime) {
        self.inner.expiries.get_or_create(&RoleLabel { role }).set(expires.unix());
    }

    /// One entry of the floor.
    pub fn floor(&self, name: &str, value: u64) {
        self.inner.floors.get_or_create(&FloorLabel { floor: name.to_owned() }).set(gauge(value));
    }

    /// Work succeeded at `now`.
    pub fn worked(&self, now: UtcTime) {
        self.inner.last_work.set(now.unix());
    }

    /// Whether an operator has to look.
    pub fn alarm(&self, alarm: bool) {
        self.inner.alarm.set(i64::from(alarm));
    }

    /// Whether the worker can do its job.
    pub fn ready(&self, ready: bool) {
        self.inner.ready.set(i64::from(ready));
    }

    /// Whether the broker is connected.
    pub fn broker_connected(&self, connected: bool) {
        self.inner.broker_connected.set(i64::from(connected));
    }

    /// Whether intake is paused.
    pub fn paused(&self, paused: bool) {
        self.inner.paused.set(i64::from(paused));
    }

    /// How many drops are on disk in `state` (`ready`, `processing`, `rejected`, `held`).
    pub fn drops(&self, state: &'static str, count: u64) {
        self.inner.drops.get_or_create(&StateLabel { state }).set(gauge(count));
    }

    /// `count` drops ended as `state` (`published`, `rejected`).
    pub fn drops_finished(&self, state: &'static str, count: u64) {
        self.inner.drops_finished.get_or_create(&StateLabel { state }).inc_by(count);
    }

    /// Age of the oldest drop that has not ended, ready or taken in; zero when there is none.
    pub fn oldest_ready(&self, age: Duration) {
        self.inner.oldest_ready_seconds.set(age.as_secs_f64());
    }

    /// A batch of `drops` became visible `took` after it was taken in.
    pub fn published(&self, drops: u64, took: Duration) {
        self.inner.batch_drops.observe(f64::from(u32::try_from(drops).unwrap_or(u32::MAX)));
        self.inner.publish_seconds.observe(took.as_secs_f64());
    }

    /// Everything in the OpenMetrics text format, ending with `# EOF`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new("targets-worker", "1.2.3", "host");
        metrics.task("add-targets", Outcome::Success, Duration::from_millis(3));
        metrics.role_version("targets", 7);
        metrics.role_expiry("targets", UtcTime::from_unix(1_000));
        metrics.floor("record", 12);
        metrics.drops_finished("published", 3);
        metrics.broker_connected(true);
        let text = metrics.render();
        for line in [
            "tuf_fleet_build_info{worker=\"targets-worker\",version=\"1.2.3\",instance=\"host\"} 1",
            "tuf_fleet_tasks_total{task=\"add-targets\",outcome=\"success\"} 1",
            "tuf_fleet_role_version{role=\"targets\"} 7",
            "tuf_fleet_role_expiry_timestamp_seconds{role=\"targets\"} 1000",
            "tuf_fleet_floor{floor=\"record\"} 12",
            "tuf_fleet_drops_finished_total{state=\"published\"} 3",
            "tuf_fleet_broker_connected 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing from\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
