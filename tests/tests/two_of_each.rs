//! Two monitors, two targets-workers and two timestamp-workers (and snapshot-workers) on one repository: each process has
//! a state and an instance of its own, as on two hosts with the same mounts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde_json::{Value, json};
use system_tests::clients::{self, Reader, assert_only_forward};
use system_tests::{Files, Fleet, Keys, WORKERS, Watch, eventually};
use testkit::servers::RabbitMq;

const PRODUCERS: u64 = 4;
const DROPS: u64 = 8;

/// Files of its own, and one that every drop of every producer replaces.
fn contents(producer: u64, number: u64) -> Files {
    [
        (format!("{producer}/{number:02}/file"), format!("{producer} {number}").into_bytes()),
        (format!("shared/{producer}-{number:02}"), vec![b'x'; 1000]),
        ("latest".to_owned(), format!("{producer} {number:02}").into_bytes()),
    ]
    .into()
}

fn name(producer: u64, number: u64) -> String {
    format!("drop-{producer}-{number:02}")
}

#[test]
fn two_of_each_worker_publish_every_drop_once_and_never_go_back() {
    two_of_each(true);
}

#[test]
fn two_of_each_worker_publish_every_drop_once_and_never_go_back_without_consistent_snapshots() {
    two_of_each(false);
}

fn two_of_each(consistent_snapshot: bool) {
    let settings = [
        ("scheduler_scan_period", json!(1)),
        ("reconcile_period", json!(1)),
        ("publish_min_interval", json!(0)),
        ("number_of_bins", json!(16)),
        ("consistent_snapshot", json!(consistent_snapshot)),
    ];
    let mut fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &settings);
    for worker in WORKERS {
        fleet.start_twin(worker);
    }
    fleet.wait_ready();
    let reader = if consistent_snapshot { Reader::start(&fleet) } else { Reader::start_persistent(&fleet) };
    let watch = Watch::start(&fleet);

    let mut expected = Files::new();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let fleet = &fleet;
            scope.spawn(move || {
                for number in 0..DROPS {
                    fleet.post_drop(&name(producer, number), &contents(producer, number));
                    // Some wait for their release, some post on.
                    if number % (producer + 1) == 0 {
                        fleet.published(&name(producer, number));
                    }
                }
            });
        }
    });
    for producer in 0..PRODUCERS {
        for number in 0..DROPS {
            let receipt = fleet.published(&name(producer, number));
            assert_eq!(receipt["targets"], 3, "{receipt}");
            expected.extend(contents(producer, number));
        }
    }
    let rounds = reader.end();
    assert_only_forward(&rounds);
    let disturbed: Vec<&Value> = rounds.iter().filter_map(|round| round.get("failed")).collect();
    assert!(!consistent_snapshot || disturbed.is_empty(), "{disturbed:?}");
    eprintln!("{} versioned files stayed as they were", watch.end());

    // Which drop was the last to replace it is for the fleet to say; that it is one of them, whole, is not.
    let mut seen = clients::our_client(&fleet);
    let latest = seen.remove("latest").unwrap();
    expected.remove("latest");
    assert_eq!(seen, expected);
    assert!((0..PRODUCERS).any(|producer| (0..DROPS).any(|n| contents(producer, n)["latest"] == latest)));

    let mut signed: BTreeMap<String, u64> = BTreeMap::new();
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for record in records(&fleet) {
        for request in record["results"].as_object().unwrap().keys().filter(|request| request.starts_with("post:")) {
            *signed.entry(request.rsplit(':').next().unwrap().to_owned()).or_default() += 1;
        }
        for (role, entry) in record["roles"].as_object().unwrap() {
            let version = entry["version"].as_u64().unwrap();
            let before = versions.insert(role.clone(), version).unwrap_or(0);
            assert!(version > before, "{role} went from {before} to {version}");
        }
    }
    let once: BTreeMap<String, u64> = (0..PRODUCERS).flat_map(|p| (0..DROPS).map(move |n| (name(p, n), 1))).collect();
    assert_eq!(signed, once, "how often each drop was signed");
    eventually("the monitors are free", || {
        fleet.posted().iter().all(|name| name.starts_with("tuf_receipt_")).then_some(())
    });
}

/// What the commit records say, in their order.
fn records(fleet: &Fleet) -> Vec<Value> {
    let entries = fs::read_dir(fleet.records()).unwrap().map(|entry| entry.unwrap().path());
    let mut records: Vec<(u64, Value)> = entries
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.strip_suffix(".record.json")?.parse().ok()?;
            let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            Some((number, record["signed"].clone()))
        })
        .collect();
    records.sort_by_key(|(number, _)| *number);
    records.into_iter().map(|(_, record)| record).collect()
}
