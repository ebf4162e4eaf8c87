//! The fleet's main job, end to end: separate processes, a real RabbitMQ, drops made with `mkdir`, `cp` and `mv`; then
//! python-tuf, tough and our own client verify and download every target, starting from `1.root.json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod tough_client;

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use system_tests::celery::send_as_operator;
use system_tests::{Files, Fleet, Keys, SNAPSHOT, TARGETS, TIMESTAMP, celery, clients, eventually};
use testkit::servers::RabbitMq;

fn files<const N: usize>(list: [(&str, &str); N]) -> Files {
    list.map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec())).into()
}

/// `sha256sum` in the directory of a drop.
fn manifest(files: &Files) -> Vec<u8> {
    let Value::Object(described) = clients::expected(files) else { panic!("an object") };
    let line = |(path, entry): (&String, &Value)| format!("{}  {path}\n", entry["sha256"].as_str().unwrap());
    described.iter().map(line).collect::<String>().into_bytes()
}

/// Every client sees exactly these files.
#[track_caller]
fn assert_served(fleet: &Fleet, files: &Files) -> Value {
    let report = clients::python_tuf(fleet);
    assert_eq!(report["targets"], clients::expected(files), "python-tuf");
    assert_eq!(&clients::our_client(fleet), files, "our own client");
    assert_eq!(&tough_client::download_all(fleet), files, "tough");
    report
}

#[track_caller]
fn releases_come_out_signed(keys: Keys, settings: &[(&str, Value)]) {
    let fleet = Fleet::start(RabbitMq::shared().vhost(), keys, settings);
    let mut served = Files::new();

    // One drop, alone.
    let first = files([("hello.txt", "hello"), ("empty", ""), ("pool/main/h/hello_1.0.deb", "a package")]);
    fleet.post_drop("first", &first);
    let receipt = fleet.published("first");
    assert_eq!(receipt["targets"], 3, "{receipt}");
    served.extend(first);
    let before = assert_served(&fleet, &served);
    assert_eq!(receipt["timestamp_version"], before["timestamp"], "the receipt names what clients see");
    assert_eq!(receipt["snapshot_version"], before["snapshot"], "the receipt names what clients see");

    // Many at once, good and bad; what is not renamed yet is left alone.
    let second = files([("pool/main/h/hello_1.1.deb", "a newer package"), ("pool/Packages", "hello 1.1")]);
    let third = files([("hello.txt", "hello again"), ("pool/other/deep/er/ünïcode.txt", "ok")]);
    let large: Files = [("large.bin".to_owned(), (0..3_000_000_u32).map(|i| (i % 251) as u8).collect())].into();
    let mut checked = files([("checked/one", "1"), ("checked/two", "2")]);
    let mut lying = files([("lying/one", "1"), ("lying/two", "2")]);
    let sums = manifest(&lying);
    lying.insert("lying/two".into(), b"3".to_vec());
    lying.insert("SHA256SUMS".into(), sums);
    let sums = manifest(&checked);
    checked.insert("SHA256SUMS".into(), sums);
    let linked = fleet.copy_drop("linked", &files([("linked/file", "content")]));
    symlink("/etc/passwd", linked.join("linked/passwd")).unwrap();
    let unfinished = fleet.copy_drop("unfinished", &files([("unfinished", "not yet")]));
    for (name, drop) in
        [("second", &second), ("third", &third), ("large", &large), ("checked", &checked), ("lying", &lying)]
    {
        fleet.post_drop(name, drop);
    }
    fleet.release_drop("linked");

    for name in ["second", "third", "large", "checked"] {
        fleet.published(name);
    }
    let reason = fleet.rejected("linked");
    assert!(reason.contains("linked/passwd"), "{reason}");
    let reason = fleet.rejected("lying");
    assert!(reason.contains("lying/two") && reason.contains("SHA256SUMS"), "{reason}");
    checked.remove("SHA256SUMS");
    served.extend(second.into_iter().chain(third).chain(large).chain(checked));
    let between = assert_served(&fleet, &served);
    assert!(unfinished.join("unfinished").exists());

    // Removed by an operator; the snapshot and the timestamp follow when asked, as `rugged remove-targets` does.
    let gone = "pool/main/h/hello_1.0.deb";
    let remove = json!({"targets": [gone, "no/such/file"], "request_id": "remove-1"});
    let removed = &send_as_operator(&fleet, TARGETS, "remove-targets", &remove)["result"];
    assert_eq!((&removed["removed"], &removed["not_found"]), (&json!(1), &json!(1)), "{removed}");
    let snapshot = celery::send_task(&fleet, SNAPSHOT, "update-snapshot", &json!({}));
    assert_eq!(snapshot["state"], "SUCCESS", "{snapshot}");
    let timestamp = celery::send_task(&fleet, TIMESTAMP, "update-timestamp", &json!({}));
    assert_eq!(timestamp["state"], "SUCCESS", "{timestamp}");
    served.remove(gone);
    let after = assert_served(&fleet, &served);

    for role in ["timestamp", "snapshot"] {
        let versions = [&before, &between, &after].map(|report| report[role].as_u64().unwrap());
        assert!(versions.is_sorted_by(|a, b| a < b), "{role}: {versions:?}");
    }
    // The monitor is free, and nothing of what it did is left but receipts and what producers have to look at.
    eventually("the drop directory is tidy", || {
        let names = fleet.posted();
        names
            .iter()
            .all(|name| ["tuf_receipt_", "tuf_rejected_", "tuf_tmp_unf"].iter().any(|p| name.starts_with(p)))
            .then_some(())
    });
    eventually("the inbound directory is empty", || {
        fs::read_dir(fleet.inbound()).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn a_release_is_served_to_every_client() {
    releases_come_out_signed(Keys::Ed25519, &[]);
}

#[test]
fn a_release_without_consistent_snapshots_is_served_to_every_client() {
    releases_come_out_signed(Keys::Ed25519, &[("consistent_snapshot", json!(false))]);
}

#[test]
fn a_release_in_256_hashed_bins_is_served_to_every_client() {
    releases_come_out_signed(Keys::Ed25519, &[("number_of_bins", json!(256))]);
}

#[test]
fn a_release_signed_with_p256_keys_is_served_to_every_client() {
    releases_come_out_signed(Keys::P256, &[]);
}

#[test]
fn a_release_signed_with_rsa_keys_is_served_to_every_client() {
    releases_come_out_signed(Keys::Rsa, &[]);
}
