//! Metrics of the repository's workers, beside those of every process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor as _};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use service::identity::ProcessIdentity;
use service::metrics::{DurationHistogram, ProcessMetrics};
use tuf_core::time::UtcTime;

use crate::roles::WorkerRole;

/// The prefix of every metric's name.
pub const METRIC_PREFIX: &str = "tuf_fleet";

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

type F64Gauge = Gauge<f64, AtomicU64>;

/// The metrics of one worker of the fleet; clones share them.
#[derive(Clone)]
pub struct FleetMetrics {
    process: ProcessMetrics,
    own: Arc<RepositoryMetrics>,
}

struct RepositoryMetrics {
    versions: Family<RoleLabel, Gauge>,
    expiries: Family<RoleLabel, Gauge>,
    lifetimes: Family<RoleLabel, Gauge>,
    floors: Family<FloorLabel, Gauge>,
    paused: Gauge,
    drops: Family<StateLabel, Gauge>,
    drops_finished: Family<StateLabel, Counter>,
    oldest_ready_seconds: F64Gauge,
    batch_drops: Histogram,
    publish_seconds: Histogram,
}

impl fmt::Debug for FleetMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetMetrics")
    }
}

impl RepositoryMetrics {
    fn new() -> Self {
        Self {
            versions: Family::default(),
            expiries: Family::default(),
            lifetimes: Family::default(),
            floors: Family::default(),
            paused: Gauge::default(),
            drops: Family::default(),
            drops_finished: Family::default(),
            oldest_ready_seconds: F64Gauge::default(),
            batch_drops: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            publish_seconds: DurationHistogram.new_metric(),
        }
    }

    fn register(&self, r: &mut Registry) {
        r.register("role_version", "Metadata version of each role this worker writes", self.versions.clone());
        r.register("role_expiry_timestamp_seconds", "Expiry of the metadata of each role", self.expiries.clone());
        r.register("role_lifetime_seconds", "Configured lifetime of the metadata of each role", self.lifetimes.clone());
        r.register("floor", "The floor: the worker never signs below these numbers", self.floors.clone());
        r.register("processing_paused", "1 while intake is paused", self.paused.clone());
        r.register("drops", "Drops on disk by state", self.drops.clone());
        r.register("drops_finished", "Drops that ended, by outcome", self.drops_finished.clone());
        r.register(
            "oldest_ready_drop_age_seconds",
            "Age of the oldest drop that has not ended, ready or taken in",
            self.oldest_ready_seconds.clone(),
        );
        r.register("batch_drops", "Drops per batch", self.batch_drops.clone());
        r.register(
            "publish_duration_seconds",
            "Time from the intake of a batch to its timestamp",
            self.publish_seconds.clone(),
        );
    }
}

impl FleetMetrics {
    /// Fresh metrics of the process `identity`.
    #[must_use]
    pub fn new(identity: &ProcessIdentity) -> Self {
        let own = RepositoryMetrics::new();
        let process = ProcessMetrics::new(METRIC_PREFIX, identity, |registry| own.register(registry));
        Self { process, own: Arc::new(own) }
    }

    /// The metrics that every worker process has.
    #[must_use]
    pub fn process(&self) -> &ProcessMetrics {
        &self.process
    }

    /// The version of the metadata that the worker of `role` signs.
    pub fn role_version(&self, role: WorkerRole, version: u64) {
        self.own.versions.get_or_create(&RoleLabel { role: role.as_str() }).set(gauge(version));
    }

    /// The expiry of `metadata`: `root`, `targets`, `bins` (the earliest of all), `snapshot` or `timestamp`.
    pub fn role_expiry(&self, metadata: &'static str, expires: UtcTime) {
        self.own.expiries.get_or_create(&RoleLabel { role: metadata }).set(expires.unix());
    }

    /// The configured lifetime of `metadata` (see [`FleetMetrics::role_expiry`]), which the alerts compare its expiry with.
    pub fn role_lifetime(&self, metadata: &'static str, seconds: i64) {
        self.own.lifetimes.get_or_create(&RoleLabel { role: metadata }).set(seconds);
    }

    /// One entry of the floor.
    pub fn floor(&self, name: &str, value: u64) {
        self.own.floors.get_or_create(&FloorLabel { floor: name.to_owned() }).set(gauge(value));
    }

    /// Whether intake is paused.
    pub fn paused(&self, paused: bool) {
        self.own.paused.set(i64::from(paused));
    }

    /// How many drops are on disk in `state` (`ready`, `processing`, `rejected`, `held`).
    pub fn drops(&self, state: &'static str, count: u64) {
        self.own.drops.get_or_create(&StateLabel { state }).set(gauge(count));
    }

    /// `count` drops ended as `state` (`published`, `rejected`).
    pub fn drops_finished(&self, state: &'static str, count: u64) {
        self.own.drops_finished.get_or_create(&StateLabel { state }).inc_by(count);
    }

    /// Age of the oldest drop that has not ended, ready or taken in; zero when there is none.
    pub fn oldest_ready(&self, age: Duration) {
        self.own.oldest_ready_seconds.set(age.as_secs_f64());
    }

    /// A batch of `drops` became visible `took` after it was taken in.
    pub fn published(&self, drops: u64, took: Duration) {
        self.own.batch_drops.observe(f64::from(u32::try_from(drops).unwrap_or(u32::MAX)));
        self.own.publish_seconds.observe(took.as_secs_f64());
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use service::metrics::{MetricsFormat, WorkOutcome};

    use super::*;

    #[test]
    fn counted_events_are_rendered() {
        let metrics = FleetMetrics::new(&ProcessIdentity::new("targets-worker", "1.2.3", "host"));
        metrics.process().task("add-targets", WorkOutcome::Success, Duration::from_millis(3));
        metrics.role_version(WorkerRole::Targets, 7);
        metrics.role_expiry("targets", UtcTime::from_unix(1_000));
        metrics.floor("record", 12);
        metrics.drops_finished("published", 3);
        metrics.process().broker_connected(true);
        let text = metrics.process().render(MetricsFormat::OpenMetrics);
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
    /// Every metric with a sample.
    fn everything() -> FleetMetrics {
        let metrics = FleetMetrics::new(&ProcessIdentity::new("targets-worker", "1.2.3", "host"));
        metrics.process().task("add-targets", WorkOutcome::Success, Duration::from_millis(3));
        metrics.process().broker_connected(true);
        metrics.role_version(WorkerRole::Targets, 7);
        metrics.role_expiry("targets", UtcTime::from_unix(1_000));
        metrics.role_lifetime("targets", 86_400);
        metrics.floor("record", 12);
        metrics.paused(false);
        metrics.drops("ready", 1);
        metrics.drops_finished("published", 3);
        metrics.oldest_ready(Duration::from_secs(1));
        metrics.published(3, Duration::from_secs(1));
        metrics
    }

    /// What `promtool check metrics` checks: the text is parsed, each sample belongs to a family with help and a type, and
    /// the names are those that Prometheus expects of the type.
    #[test]
    fn the_metrics_pass_the_checks_of_promtool() {
        let text = everything().process().render(MetricsFormat::Prometheus);
        let mut kinds = BTreeMap::new();
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
                for reserved in ["_count", "_sum", "_bucket"] {
                    assert!(!family.ends_with(reserved), "{line}");
                }
                for part in family.split('_') {
                    assert!(
                        !["s", "ms", "us", "sec", "min", "h", "d", "b", "kb", "mb", kind].contains(&part),
                        "{line}"
                    );
                    assert!(!["milliseconds", "minutes", "hours", "days", "kilobytes"].contains(&part), "{line}");
                }
                assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
                assert_eq!(kinds.insert(family.to_owned(), kind.to_owned()), None, "twice: {line}");
            } else if let Some((family, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                assert!(!help.is_empty() && helped.insert(family.to_owned()), "{line}");
            } else {
                assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
                let name = line.split(['{', ' ']).next().unwrap();
                let histogram = ["_count", "_sum", "_bucket"].iter().find_map(|suffix| name.strip_suffix(suffix));
                let family = match histogram {
                    Some(family) if kinds.get(family).is_some_and(|kind| kind == "histogram") => family,
                    _ => name,
                };
                assert!(kinds.contains_key(family) && helped.contains(family), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(kinds.len() > 12, "{kinds:?}");
    }
}
