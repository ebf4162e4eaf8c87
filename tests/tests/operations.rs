//! What `docs/operations.md` has an operator do, done: its commands as they stand there, on separate processes and a real
//! RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use system_tests::clients::{self, Reader, assert_only_forward};
use system_tests::{Files, Fleet, Keys, MONITOR, Returning, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, guide};
use testkit::servers::{RabbitMq, workspace};

fn settings(consistent_snapshot: bool) -> Vec<(&'static str, Value)> {
    vec![
        ("number_of_bins", json!(4)),
        ("scheduler_scan_period", json!(1)),
        ("reconcile_period", json!(1)),
        ("publish_min_interval", json!(0)),
        ("consistent_snapshot", json!(consistent_snapshot)),
    ]
}

fn start(consistent_snapshot: bool) -> Fleet {
    Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &settings(consistent_snapshot))
}

/// A file of its own, one that every drop replaces, and one that none changes.
fn contents(name: &str) -> Files {
    [
        (format!("own/{name}"), name.as_bytes().to_vec()),
        ("pkg/latest".to_owned(), name.as_bytes().to_vec()),
        ("kept".to_owned(), b"the same for ever".to_vec()),
    ]
    .into()
}

fn release(fleet: &Fleet, name: &str) -> Files {
    fleet.post_drop(name, &contents(name));
    fleet.published(name);
    contents(name)
}

fn stop_all(fleet: &mut Fleet) {
    for worker in WORKERS {
        fleet.stop(worker);
    }
}

fn start_all(fleet: &mut Fleet) {
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
}

/// A release before every command of the guide, published before the command runs.
const RELEASES: &str = r#"
number=0
release() {
    number=$((number + 1))
    mkdir -p "post_to_tuf/tuf_tmp_meanwhile-$number/pkg"
    echo "$number" >"post_to_tuf/tuf_tmp_meanwhile-$number/pkg/latest"
    echo "$number" >"post_to_tuf/tuf_tmp_meanwhile-$number/meanwhile-$number"
    mv "post_to_tuf/tuf_tmp_meanwhile-$number" "post_to_tuf/tuf_ready_meanwhile-$number"
    until [ -e "post_to_tuf/tuf_receipt_meanwhile-$number.json" ]; do sleep 0.02; done
}
trap release DEBUG
"#;

/// Takes a backup by the guide while releases go on; returns the copy.
fn back_up(fleet: &mut Fleet) -> PathBuf {
    let _ = fleet.follow_guide("backup", RELEASES);
    let copies: Vec<PathBuf> = fs::read_dir(fleet.path("backup")).unwrap().map(|copy| copy.unwrap().path()).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let released = fleet.posted().iter().filter(|name| name.starts_with("tuf_receipt_meanwhile-")).count();
    assert!(released > 6, "{released} releases while the backup was taken");
    copies[0].clone()
}

/// The variable that the guide's commands take the backup from.
fn copy_is(copy: &std::path::Path) -> String {
    format!("COPY={}\n", copy.display())
}

#[test]
fn the_backup_of_the_guide_verifies_by_itself_with_a_release_before_each_of_its_commands() {
    let mut fleet = start(true);
    release(&fleet, "first");
    let copy = back_up(&mut fleet);
    let files = clients::our_client_of(&copy);
    assert_eq!(files["own/first"], b"first");
    assert!(files.len() < clients::our_client(&fleet).len(), "what came after its timestamp is not in it");
    let _ = fleet.follow_guide("check-backup", &copy_is(&copy));
}

#[test]
fn a_restored_repository_goes_on_above_what_clients_have_seen() {
    restored(true, false);
}

#[test]
fn without_consistent_snapshots_a_restored_repository_goes_on_above_what_clients_have_seen() {
    restored(false, false);
}

#[test]
fn where_the_states_are_lost_with_the_repository_it_goes_on_above_what_clients_have_seen() {
    restored(true, true);
}

fn restored(consistent_snapshot: bool, states_are_lost: bool) {
    let mut fleet = start(consistent_snapshot);
    release(&fleet, "first");
    let copy = back_up(&mut fleet);
    release(&fleet, "after");
    let mut client = Returning::new(&fleet);
    assert!(client.visit().contains_key("own/after"));
    let seen = clients::python_tuf_returning(&fleet);

    stop_all(&mut fleet);
    let _ = fleet.follow_guide("restore", &copy_is(&copy));
    if states_are_lost {
        WORKERS.iter().for_each(|worker| fleet.lose_state(worker));
        let _ = fleet.follow_guide("recover-lost", "");
        start_all(&mut fleet);
    } else {
        // Nothing is signed below the floor, until the guide is followed.
        start_all(&mut fleet);
        let said = system_tests::eventually("the targets-worker stops with an alarm", || {
            let log = fleet.log_of(TARGETS);
            log.lines().find(|line| line.contains("below the floor")).map(str::to_owned)
        });
        assert!(said.contains("restored or rolled back"), "{said}");
        let _ = fleet.follow_guide("recover", "");
    }
    fleet.wait_ready();

    // What was lost is released again under another name, and what is new as ever.
    release(&fleet, "after-again");
    release(&fleet, "new");
    let files = client.visit();
    let now = clients::python_tuf_returning(&fleet);
    assert_eq!(now["targets"], clients::expected(&files));
    for role in ["timestamp", "snapshot", "targets_version"] {
        assert!(now[role].as_u64() > seen[role].as_u64(), "{role}: {seen} then {now}");
    }
    assert_eq!((&files["own/first"][..], &files["pkg/latest"][..]), (&b"first"[..], &b"new"[..]));
    assert!(files.contains_key("own/after-again") && !files.contains_key("own/after"));
    assert_eq!(files, clients::our_client(&fleet));
}

#[test]
fn files_that_are_gone_or_damaged_are_put_back_and_need_no_recovery() {
    let fleet = start(true);
    let mut expected = release(&fleet, "first");
    let mut client = Returning::new(&fleet);
    let bins = fs::read_dir(fleet.metadata()).unwrap().map(|entry| entry.unwrap().path());
    let bins = bins.filter(|path| path.to_str().is_some_and(|path| path.contains(".bin_")));
    let backup: Vec<(PathBuf, Vec<u8>)> = bins.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(backup.len() >= 4, "{backup:?}");
    for (number, (path, _)) in backup.iter().enumerate() {
        fs::remove_file(path).unwrap();
        if number % 2 == 0 {
            fs::write(path, "damaged").unwrap();
        }
    }
    fleet.post_drop("next", &contents("next"));
    system_tests::eventually("the targets-worker stops with an alarm", || {
        fleet.log_of(TARGETS).contains("the commit log names").then_some(())
    });
    for (path, bytes) in backup {
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
    }
    fleet.published("next");
    expected.extend(contents("next"));
    assert_eq!(client.visit(), expected);
}

#[test]
fn a_lost_state_volume_of_any_worker_costs_nothing_that_is_published() {
    let mut fleet = start(true);
    let mut expected = release(&fleet, "first");
    let mut client = Returning::new(&fleet);
    for worker in WORKERS {
        fleet.stop(worker);
        fleet.lose_state(worker);
        fleet.start_worker(worker);
        fleet.wait_ready();
        expected.extend(release(&fleet, &format!("after-{worker}")));
        assert_eq!(client.visit(), expected);
    }
    // The monitor has forgotten its receipts. A release that is posted again is a new post: what replaced its files is replaced.
    fs::remove_file(fleet.post().join("tuf_receipt_first.json")).unwrap();
    expected.extend(release(&fleet, "first"));
    assert_eq!(client.visit(), expected);
}

#[test]
fn a_fleet_that_moves_to_another_host_goes_on_where_it_was() {
    let mut fleet = start(true);
    let mut expected = release(&fleet, "first");
    let mut client = Returning::new(&fleet);
    let seen = clients::python_tuf_returning(&fleet);
    // One drop is half way, one has not been looked at.
    fleet.stop(SNAPSHOT);
    fleet.post_drop("half-way", &contents("half-way"));
    system_tests::eventually("it is taken in", || {
        fleet.posted().iter().any(|name| name == "tuf_processing_half-way").then_some(())
    });
    for worker in [MONITOR, TARGETS, TIMESTAMP] {
        fleet.stop(worker);
    }
    fleet.post_drop("waiting", &contents("waiting"));

    fleet.move_elsewhere();
    client = client.follow(&fleet);
    start_all(&mut fleet);
    fleet.wait_ready();
    for name in ["half-way", "waiting"] {
        fleet.published(name);
        expected.extend(contents(name));
    }
    expected.extend(release(&fleet, "after"));
    assert_eq!(client.visit(), expected);
    let now = clients::python_tuf_returning(&fleet);
    assert_eq!(now["targets"], clients::expected(&expected));
    assert!(now["timestamp"].as_u64() > seen["timestamp"].as_u64());
}

#[test]
fn workers_upgraded_one_by_one_as_the_guide_says_lose_no_drop_and_no_reader_notices() {
    let mut fleet = start(true);
    let mut expected = release(&fleet, "first");
    let reader = Reader::start(&fleet);
    // A pipeline that goes on posting all the while and waits for nothing.
    let pipeline = r#"
for number in $(seq -w 1 60); do
    mkdir "post_to_tuf/tuf_tmp_$number"
    echo "$number" >"post_to_tuf/tuf_tmp_$number/file-$number"
    mv "post_to_tuf/tuf_tmp_$number" "post_to_tuf/tuf_ready_$number"
    sleep 0.1
done &
"#;
    let _ = fleet.follow_guide("upgrade", pipeline);
    for number in 1..=60 {
        let name = format!("{number:02}");
        fleet.published(&name);
        expected.insert(format!("file-{name}"), format!("{name}\n").into_bytes());
    }
    assert_only_forward(&reader.end());
    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&expected));
}

#[test]
fn workers_are_upgraded_from_the_end_of_the_chain_so_that_each_reads_what_the_one_before_it_writes() {
    let commands = guide::commands("upgrade");
    let place = |role: &str| commands.find(role).unwrap_or_else(|| panic!("{role} is not upgraded:\n{commands}"));
    let places = ["timestamp", "snapshot", "targets", "monitor"].map(place);
    assert!(places.is_sorted(), "{commands}");
}

/// The words after each `rugged` of a text's commands, until the command ends.
fn commands_in(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        // Commands of a block, and those between backticks.
        for span in line.split(['`', '|', ';', '(', ')', '#']) {
            let words: Vec<&str> = span.split_whitespace().collect();
            let starts = words.iter().enumerate().filter(|(_, word)| **word == "rugged").map(|(at, _)| at);
            for start in starts {
                let rest = words[start + 1..].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
                if rest.first().is_some_and(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')) {
                    found.push(rest);
                }
            }
        }
    }
    found
}

#[test]
fn every_command_the_guides_name_exists_with_its_options() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    let reference = read("docs/reference/cli.md");
    let mut known = 0;
    for guide in ["docs/operations.md", "deploy/README.md"] {
        for words in commands_in(&read(guide)) {
            let section = reference.split_once(&format!("\n## rugged {}\n", words[0]));
            let (_, section) = section.unwrap_or_else(|| panic!("{guide}: there is no `rugged {}`", words.join(" ")));
            let section = section.split("\n## ").next().unwrap();
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(section.contains(&format!("- `{option}")), "{guide}: `rugged {}`", words.join(" "));
            }
            known += 1;
        }
    }
    assert!(known > 20, "only {known} commands were found");
}
