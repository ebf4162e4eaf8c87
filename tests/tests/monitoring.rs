//! The alerts and the dashboard of `deploy/monitoring` query metrics that the workers export, and the operations guide
//! describes every alert.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use system_tests::{Fleet, Keys, WORKERS};
use testkit::servers::{RabbitMq, workspace};

/// How the names of our metrics start.
const PREFIX: &str = "tuf_fleet_";

fn monitoring(file: &str) -> String {
    fs::read_to_string(workspace().join("deploy/monitoring").join(file)).unwrap()
}

/// The words of a text that start like our metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX)).map(str::to_owned).collect()
}

#[test]
fn every_queried_metric_is_exported() {
    let fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &[("number_of_bins", json!(4))]);
    fleet.post_drop("one", &[("file".to_owned(), b"content".to_vec())].into());
    fleet.published("one");
    let exported: String = WORKERS.iter().map(|worker| fleet.metrics_of(worker)).collect();
    let known = metrics_in(&exported);
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let asked = metrics_in(&monitoring(file));
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let missing: Vec<&String> = asked.difference(&known).collect();
        assert!(missing.is_empty(), "{file} queries {missing:?}, which no worker exports");
    }
    // `increase` does not see how a series begins: the first rejection has to find one.
    assert!(
        exported.contains("tuf_fleet_drops_finished_total{state=\"rejected\"} 0\n"),
        "rejections are not counted from zero"
    );
    for role in ["root", "targets", "bins", "snapshot", "timestamp"] {
        let line = format!("tuf_fleet_role_expiry_timestamp_seconds{{role=\"{role}\"}} ");
        assert!(exported.contains(&line), "no worker exports when {role} expires");
    }
}

#[test]
fn every_alert_has_its_place_in_the_operations_guide() {
    let guide = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let alerts = monitoring("alerts.yml");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(guide.contains(&format!("`{name}`")), "docs/operations.md does not say what to do about {name}");
    }
}
