//! Workers are killed and RabbitMQ goes away while drops are posted and a client reads: nothing is lost, nothing is
//! published twice, and no client notices. With `TUF_FLEET_TEST_LONG` set there are two hundred drops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::symlink;

use durable_fs::durable::TEMP_PREFIX;
use serde_json::{Value, json};
use system_tests::clients::{self, Reader, assert_only_forward};
use system_tests::{
    Choices, Files, Fleet, Keys, MONITOR, SNAPSHOT, TIMESTAMP, WORKERS, Watch, eventually, eventually_ok,
};
use testkit::servers::PrivateRabbitMq;

/// How far a drop has come when a worker is killed.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Posted,
    TakenIn,
    Staged,
    Signed,
    Published,
}

fn name(number: u64) -> String {
    format!("drop-{number:03}")
}

/// A file of its own, one in a directory all share, and one that every drop replaces.
fn contents(number: u64) -> Files {
    [
        (format!("own/{number:03}/file"), format!("drop {number}").into_bytes()),
        (format!("pool/{number:03}.txt"), vec![b'x'; 10_000 + usize::try_from(number).unwrap()]),
        ("latest".to_owned(), format!("{number:03}").into_bytes()),
    ]
    .into()
}

/// The commit records, as text.
fn records(fleet: &Fleet) -> Vec<String> {
    let entries = fs::read_dir(fleet.records()).unwrap().map(|entry| entry.unwrap().path());
    let records = entries.filter(|path| path.to_str().is_some_and(|path| path.ends_with(".record.json")));
    records.map(|path| String::from_utf8(fs::read(path).unwrap()).unwrap()).collect()
}

/// How often a drop is in a record.
fn times_signed(records: &[String], number: u64) -> usize {
    records.iter().map(|record| record.matches(&format!(":{}\"", name(number))).count()).sum()
}

fn is_long() -> bool {
    std::env::var_os("TUF_FLEET_TEST_LONG").is_some()
}

#[test]
fn a_fleet_whose_parts_die_loses_nothing_and_no_client_notices() {
    parts_die(true, if is_long() { 200 } else { 15 });
}

#[test]
fn without_consistent_snapshots_a_fleet_whose_parts_die_loses_nothing_and_every_read_succeeds_when_repeated() {
    parts_die(false, if is_long() { 200 } else { 9 });
}

fn parts_die(consistent_snapshot: bool, drops: u64) {
    let mut choices = Choices::new();
    let mut broker = PrivateRabbitMq::start();
    let settings = [
        ("task_timeout", json!(5)),
        ("scheduler_scan_period", json!(1)),
        ("publish_min_interval", json!(0.1)),
        ("consistent_snapshot", json!(consistent_snapshot)),
    ];
    let mut fleet = Fleet::start(broker.vhost(), Keys::Ed25519, &settings);
    let reader = if consistent_snapshot { Reader::start(&fleet) } else { Reader::start_persistent(&fleet) };
    let watch = Watch::start(&fleet);
    // This drop holds a link.
    let bad = drops * 2 / 5;

    for number in 0..drops {
        let name = name(number);
        let unfinished = fleet.copy_drop(&name, &contents(number));
        if number == bad {
            symlink("/etc/passwd", unfinished.join("link")).unwrap();
        }
        fleet.release_drop(&name);
        let victim = choices.of(&WORKERS);
        // Often a second one goes with it.
        let other = choices.of(&WORKERS);
        let mut victims = vec![victim];
        if other != victim && choices.of(&[true, false]) {
            victims.push(other);
        }
        if number == drops / 3 {
            eprintln!("{name}: {victims:?} are killed while RabbitMQ is stopped");
            broker.stop();
            victims.iter().for_each(|victim| fleet.kill(victim));
            broker.start_again();
        } else if number == drops * 2 / 3 {
            eprintln!("{name}: {victims:?} and RabbitMQ are killed");
            victims.iter().for_each(|victim| fleet.kill(victim));
            broker.kill();
            broker.start_again();
        } else {
            let stage = choices.of(&[Stage::Posted, Stage::TakenIn, Stage::Staged, Stage::Signed, Stage::Published]);
            eprintln!("{name}: {victims:?} are killed when it is {stage:?}");
            reach(&fleet, number, stage);
            victims.iter().for_each(|victim| fleet.kill(victim));
        }
        victims.into_iter().for_each(|victim| fleet.start_worker(victim));
    }

    let mut expected = Files::new();
    for number in 0..drops {
        if number == bad {
            let reason = fleet.rejected(&name(number));
            assert!(reason.contains("link"), "{reason}");
        } else {
            let receipt = fleet.published(&name(number));
            assert_eq!(receipt["targets"], 3, "{receipt}");
            expected.extend(contents(number));
        }
    }
    let rounds = reader.end();
    assert_only_forward(&rounds);
    let disturbed: Vec<&Value> = rounds.iter().filter_map(|round| round.get("failed")).collect();
    assert!(!consistent_snapshot || disturbed.is_empty(), "{disturbed:?}");
    eprintln!("{} of {} rounds of the reader met a swap and were repeated", disturbed.len(), rounds.len());
    eprintln!("{} versioned files stayed as they were", watch.end());

    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&expected));
    let records = records(&fleet);
    for number in 0..drops {
        assert_eq!(times_signed(&records, number), usize::from(number != bad), "drop {number} is in that many records");
    }
    fleet.wait_ready();
    eventually_ok("the monitor is free", || {
        // A monitor that was killed while it wrote a receipt leaves a temporary file, which is collected by its age.
        let ended = |name: &String| {
            ["tuf_receipt_", "tuf_rejected_", TEMP_PREFIX].iter().any(|prefix| name.starts_with(prefix))
        };
        let left: Vec<String> = fleet.posted().into_iter().filter(|name| !ended(name)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn a_broker_that_goes_between_any_two_tasks_delays_only_what_is_not_inside_yet() {
    broker_goes_between_tasks(true);
}

#[test]
fn without_consistent_snapshots_no_read_fails_for_longer_than_a_swap_while_the_broker_is_away() {
    broker_goes_between_tasks(false);
}

/// Before each of the three tasks, and before the receipt, the broker goes away: what is signed becomes visible without
/// it, and whoever reads meanwhile succeeds.
fn broker_goes_between_tasks(consistent_snapshot: bool) {
    let mut broker = PrivateRabbitMq::start();
    let settings = [
        ("task_timeout", json!(5)),
        ("scheduler_scan_period", json!(1)),
        ("reconcile_period", json!(1)),
        ("publish_min_interval", json!(0)),
        ("consistent_snapshot", json!(consistent_snapshot)),
    ];
    let mut fleet = Fleet::start(broker.vhost(), Keys::Ed25519, &settings);
    let mut reader = if consistent_snapshot { Reader::start(&fleet) } else { Reader::start_persistent(&fleet) };
    let watch = Watch::start(&fleet);
    let mut expected = Files::new();
    let reads = |reader: &mut Reader| {
        // Two rounds that began after the last swap: nothing is left half done for a reader to stumble over.
        for round in reader.fresh_rounds(2).iter().skip(1) {
            assert!(round.get("failed").is_none(), "nothing moves, yet a read failed: {round}");
        }
    };

    // Before add-targets: nothing is inside yet, so nothing is published until the broker is back.
    broker.stop();
    fleet.post_drop(&name(1), &contents(1));
    reads(&mut reader);
    assert_eq!(clients::our_client(&fleet), expected);
    broker.start_again();
    expected.extend(contents(1));
    fleet.published(&name(1));

    // The worker that would be asked next is down while the one before it works, and starts when the broker is gone.
    for (number, next) in [(2, SNAPSHOT), (3, TIMESTAMP)] {
        let snapshots = newest_snapshot(&fleet);
        fleet.kill(next);
        fleet.post_drop(&name(number), &contents(number));
        eventually("the release is signed", || (times_signed(&records(&fleet), number) == 1).then_some(()));
        if next == TIMESTAMP {
            eventually("the release is in a snapshot", || (newest_snapshot(&fleet) > snapshots).then_some(()));
        }
        reads(&mut reader);
        assert_eq!(clients::our_client(&fleet), expected, "before {next} starts");
        broker.stop();
        fleet.start_worker(next);
        expected.extend(contents(number));
        eventually("it is visible without the broker", || (visible(&fleet) == Some(expected.clone())).then_some(()));
        reads(&mut reader);
        broker.start_again();
        fleet.published(&name(number));
    }

    // Before the receipt: the monitor starts anew and finds the release published.
    fleet.kill(SNAPSHOT);
    fleet.post_drop(&name(4), &contents(4));
    eventually("the release is signed", || (times_signed(&records(&fleet), 4) == 1).then_some(()));
    fleet.kill(MONITOR);
    broker.stop();
    fleet.start_worker(SNAPSHOT);
    expected.extend(contents(4));
    eventually("it is visible without the broker", || (visible(&fleet) == Some(expected.clone())).then_some(()));
    reads(&mut reader);
    fleet.start_worker(MONITOR);
    broker.start_again();
    fleet.published(&name(4));

    assert_only_forward(&reader.end());
    watch.end();
    for number in 1..=4 {
        assert_eq!(times_signed(&records(&fleet), number), 1, "drop {number}");
    }
}

/// What a client sees, unless its read overlaps a swap.
fn visible(fleet: &Fleet) -> Option<Files> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clients::our_client(fleet))).ok()
}

fn newest_snapshot(fleet: &Fleet) -> u64 {
    let names = fs::read_dir(fleet.metadata()).unwrap().map(|entry| entry.unwrap().file_name());
    let versions = names.filter_map(|name| name.to_str()?.strip_suffix(".snapshot.json")?.parse().ok());
    versions.max().unwrap_or(0)
}

/// Waits until a drop has come as far as `stage`, or further.
fn reach(fleet: &Fleet, number: u64, stage: Stage) {
    let name = name(number);
    let ended = || fleet.post().join(format!("tuf_receipt_{name}.json")).exists();
    eventually(&format!("{name} is {stage:?}"), || {
        let reached = match stage {
            Stage::Posted => true,
            Stage::TakenIn => !fleet.post().join(format!("tuf_ready_{name}")).exists(),
            Stage::Staged => fs::read_dir(fleet.inbound())
                .unwrap()
                .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("batch_"))),
            Stage::Signed => records(fleet).iter().any(|record| record.contains(&format!(":{name}\""))),
            Stage::Published => ended(),
        };
        (reached || ended()).then_some(())
    });
}
