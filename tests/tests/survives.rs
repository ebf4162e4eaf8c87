//! Workers are killed and RabbitMQ goes away while drops are posted and a client reads: nothing is lost, nothing is
//! published twice, and no client notices.
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
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{Files, Fleet, Keys, WORKERS, clients, eventually};
use testkit::servers::PrivateRabbitMq;

const DROPS: u64 = 15;
/// This drop holds a link.
const BAD: u64 = 6;
const READER: Duration = Duration::from_secs(60);

/// A choice that can be repeated: `TUF_FLEET_TEST_SEED` takes what a failed run has printed.
struct Choices(u64);

impl Choices {
    fn new() -> Self {
        let given = std::env::var("TUF_FLEET_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
        eprintln!("TUF_FLEET_TEST_SEED={seed}");
        Self(seed)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        choices[usize::try_from(self.0 >> 33).unwrap() % choices.len()]
    }
}

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
    format!("drop-{number:02}")
}

/// A file of its own, one in a directory all share, and one that every drop replaces.
fn contents(number: u64) -> Files {
    [
        (format!("own/{number:02}/file"), format!("drop {number}").into_bytes()),
        (format!("pool/{number:02}.txt"), vec![b'x'; 10_000 + usize::try_from(number).unwrap()]),
        ("latest".to_owned(), format!("{number:02}").into_bytes()),
    ]
    .into()
}

/// The commit records, as text.
fn records(fleet: &Fleet) -> Vec<String> {
    let entries = fs::read_dir(fleet.records()).unwrap().map(|entry| entry.unwrap().path());
    let records = entries.filter(|path| path.to_str().is_some_and(|path| path.ends_with(".record.json")));
    records.map(|path| String::from_utf8(fs::read(path).unwrap()).unwrap()).collect()
}

/// Every line of the reader is a round that verified, and nothing in it goes back behind the round before.
fn assert_only_forward(output: &str) {
    let rounds: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rounds.len() > 1, "one round proves nothing\n{output}");
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen: Vec<String> = Vec::new();
    for round in &rounds {
        let mut versions: BTreeMap<String, u64> = ["root", "timestamp", "snapshot", "targets_version"]
            .map(|role| (role.into(), round[role].as_u64().unwrap()))
            .into();
        let roles = round["roles"].as_object().unwrap();
        versions.extend(roles.iter().map(|(role, version)| (format!("role {role}"), version.as_u64().unwrap())));
        for (role, version) in versions {
            let before = highest.insert(role.clone(), version).unwrap_or(0);
            assert!(version >= before, "{role} went from {before} back to {version}");
        }
        let now: Vec<String> = round["targets"].as_object().unwrap().keys().cloned().collect();
        let lost: Vec<&String> = seen.iter().filter(|path| !now.contains(path)).collect();
        assert!(lost.is_empty(), "{lost:?} vanished");
        seen = now;
    }
}

#[test]
fn a_fleet_whose_parts_die_loses_nothing_and_no_client_notices() {
    let mut choices = Choices::new();
    let mut broker = PrivateRabbitMq::start();
    let settings =
        [("task_timeout", json!(5)), ("scheduler_scan_period", json!(1)), ("publish_min_interval", json!(0.1))];
    let mut fleet = Fleet::start(broker.vhost(), Keys::Ed25519, &settings);
    let (reader, end) = clients::python_reader(&fleet);

    for number in 0..DROPS {
        let name = name(number);
        let unfinished = fleet.copy_drop(&name, &contents(number));
        if number == BAD {
            symlink("/etc/passwd", unfinished.join("link")).unwrap();
        }
        fleet.release_drop(&name);
        let victim = choices.of(&WORKERS);
        match number {
            5 => {
                eprintln!("{name}: {victim} is killed while RabbitMQ is stopped");
                broker.stop();
                fleet.kill(victim);
                broker.start_again();
            }
            10 => {
                eprintln!("{name}: {victim} and RabbitMQ are killed");
                fleet.kill(victim);
                broker.kill();
                broker.start_again();
            }
            _ => {
                let stage =
                    choices.of(&[Stage::Posted, Stage::TakenIn, Stage::Staged, Stage::Signed, Stage::Published]);
                eprintln!("{name}: {victim} is killed when it is {stage:?}");
                reach(&fleet, number, stage);
                fleet.kill(victim);
            }
        }
        fleet.start_worker(victim);
    }

    let mut expected = Files::new();
    for number in 0..DROPS {
        if number == BAD {
            let reason = fleet.rejected(&name(number));
            assert!(reason.contains("link"), "{reason}");
        } else {
            let receipt = fleet.published(&name(number));
            assert_eq!(receipt["targets"], 3, "{receipt}");
            expected.extend(contents(number));
        }
    }
    fs::write(end, "").unwrap();
    assert_only_forward(&reader.wait(READER).success().stdout);

    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&expected));
    let records = records(&fleet);
    for number in 0..DROPS {
        let times = records.iter().map(|record| record.matches(&format!(":{}\"", name(number))).count()).sum::<usize>();
        assert_eq!(times, usize::from(number != BAD), "drop {number} is in that many records");
    }
    fleet.wait_ready();
    eventually("the monitor is free", || {
        let names = fleet.posted();
        names.iter().all(|name| name.starts_with("tuf_receipt_") || name.starts_with("tuf_rejected_")).then_some(())
    });
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
