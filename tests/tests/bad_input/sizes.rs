//! Drops that are large.

use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

use durable_fs::{Fs as _, RealFs};
use serde_json::json;
use system_tests::{Files, MONITOR, clients};

use crate::{files, logged, stopped, unfinished, without_monitor};

/// 100,000 files in a debug build on a busy machine.
const LONG: Duration = Duration::from_secs(20 * 60);

fn full_size() -> bool {
    std::env::var_os("TUF_FLEET_TEST_LONG").is_some()
}

#[test]
fn a_drop_with_100_000_files_is_published_whole() {
    let count = if full_size() { 100_000 } else { 2_000 };
    let mut fleet = stopped(&[("number_of_bins", json!(256))]);
    let dir = unfinished(&fleet, "many");
    let mut expected = Files::new();
    for number in 0..count {
        let path = format!("{:03}/{number}", number % 500);
        let at = dir.join(&path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let text = number.to_string().into_bytes();
        fs::write(at, &text).unwrap();
        expected.insert(path, text);
    }
    fleet.release_drop("many");
    for worker in system_tests::WORKERS {
        fleet.start_worker(worker);
    }
    let receipt = fleet.post().join("tuf_receipt_many.json");
    let until = Instant::now() + LONG;
    while !receipt.exists() {
        assert!(Instant::now() < until, "no receipt within {LONG:?}\n{}", fleet.log_of(MONITOR));
        std::thread::sleep(Duration::from_millis(50));
    }
    let receipt = fleet.published("many");
    assert_eq!(receipt["targets"], count);
    let found = clients::our_client(&fleet);
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "every file as it was posted");
    fleet.post_drop("after", &files([("after", "x")]));
    fleet.published("after");
}

#[test]
fn a_drop_larger_than_the_free_space_waits_with_its_reason_and_others_pass() {
    let mut fleet = without_monitor(&[]);
    let dir = unfinished(&fleet, "large");
    let file = OpenOptions::new().write(true).create_new(true).open(dir.join("large")).unwrap();
    // All hole: nothing is used up by it.
    file.set_len(RealFs.space(&fleet.inbound()).unwrap().bytes + (1 << 30)).unwrap();
    fleet.release_drop("large");
    fleet.post_drop("small", &files([("small", "x")]));
    fleet.start_worker(MONITOR);
    fleet.published("small");
    let line = logged(&fleet, MONITOR, "drop held back");
    assert!(
        line.contains(r#""drop.name":"large""#)
            && line.contains("it needs ")
            && line.contains("iB are free, of which 64.0 MiB are kept"),
        "{line}"
    );
    assert!(fleet.metrics_of(MONITOR).contains("state=\"held\"} 1"), "{}", fleet.metrics_of(MONITOR));
    assert!(fleet.post().join("tuf_ready_large").exists(), "it waits under its own name");
    // There is room, as far as the drop can tell.
    file.set_len(5).unwrap();
    assert_eq!(fleet.published("large")["targets"], 1);
    assert_eq!(clients::our_client(&fleet), files([("small", "x"), ("large", "\0\0\0\0\0")]));
}
