//! Keys that are wrong, missing, readable by others, or not in the root yet.

use std::fs;
use std::path::PathBuf;

use service::exit_code::WorkerExit;
use system_tests::{Fleet, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients};
use testkit::servers::Process;
use tuf_core::key::ed25519;

use crate::{Caller, SOON, chmod, files, logged, stopped};

fn key_of(fleet: &Fleet, worker: &str) -> PathBuf {
    let role = worker.trim_end_matches("-worker");
    fleet.path(worker).join("signing_keys").join(role).join(role)
}

fn new_key(path: &PathBuf) {
    let pair = ed25519(&ring::rand::SystemRandom::new()).unwrap();
    fs::write(path, pair.private_pem.as_bytes()).unwrap();
    chmod(path, 0o400);
}

/// What `status` says is the matter with a worker, once it says anything of the kind.
#[track_caller]
fn complaint(fleet: &Fleet, worker: &str, text: &str) -> String {
    let caller = Caller::of(fleet);
    system_tests::eventually_ok(&format!("{worker} complains of {text:?}"), || {
        let status = caller.call(worker, "status", serde_json::json!({})).unwrap();
        let detail = status["detail"].as_str().unwrap_or_default().to_owned();
        if detail.contains(text) { Ok(detail) } else { Err(status.to_string()) }
    })
}

#[test]
fn a_wrong_key_signs_nothing_says_so_and_no_drop_is_lost() {
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        let mut fleet = stopped(&[]);
        let (key, right) = (key_of(&fleet, worker), fleet.path("right"));
        fs::rename(&key, &right).unwrap();
        new_key(&key);
        for worker in WORKERS {
            fleet.start_worker(worker);
        }
        fleet.post_drop("waits", &files([("file", "x")]));
        let role = worker.trim_end_matches("-worker");
        let said = complaint(&fleet, worker, &format!("0 of 1 signing keys of the role {role} are available"));
        assert!(said.contains("not in root version 1 (staged?): "), "{said}");
        fleet.kill(worker);
        fs::remove_file(&key).unwrap();
        fs::rename(&right, &key).unwrap();
        fleet.start_worker(worker);
        fleet.published("waits");
        assert_eq!(clients::our_client(&fleet), files([("file", "x")]));
    }
}

#[test]
fn a_missing_key_is_waited_for_and_no_drop_is_lost() {
    let mut fleet = stopped(&[]);
    let (key, away) = (key_of(&fleet, TARGETS), fleet.path("away"));
    fs::rename(&key, &away).unwrap();
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    fleet.post_drop("waits", &files([("file", "x")]));
    let said = complaint(&fleet, TARGETS, "holds no key");
    assert!(said.contains("rugged generate-keys") && said.contains("mount the role's key there"), "{said}");
    fs::rename(&away, &key).unwrap();
    fleet.published("waits");
}

#[test]
fn a_file_that_is_no_key_is_named_and_not_shown() {
    let mut fleet = stopped(&[]);
    let key = key_of(&fleet, SNAPSHOT);
    fs::remove_file(&key).unwrap();
    fs::write(&key, "not-a-key-but-perhaps-a-secret").unwrap();
    chmod(&key, 0o400);
    fleet.start_worker(SNAPSHOT);
    complaint(&fleet, SNAPSHOT, key.to_str().unwrap());
    assert!(!fleet.log_of(SNAPSHOT).contains("perhaps-a-secret"));
}

#[test]
fn a_group_readable_key_is_refused_with_what_to_do() {
    let mut fleet = stopped(&[]);
    for (worker, mode) in [(TARGETS, 0o440), (SNAPSHOT, 0o404), (TIMESTAMP, 0o420)] {
        let key = key_of(&fleet, worker);
        chmod(&key, mode);
        let ended = Process::spawn(&mut fleet.command(worker)).wait(SOON);
        assert_eq!(ended.status.code(), Some(i32::from(WorkerExit::Refused.code())), "{worker}\n{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("chmod 400 {}", key.display())), "{}", ended.stderr);
        chmod(&key, 0o400);
        fleet.start_worker(worker);
    }
    fleet.wait_ready();
}

#[test]
fn a_staged_key_is_reported_as_staged_and_the_role_signs_with_the_others() {
    let mut fleet = stopped(&[]);
    new_key(&key_of(&fleet, TARGETS).with_file_name("next"));
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    let line = logged(&fleet, TARGETS, "is staged");
    assert!(line.contains("root version 1 does not list it for targets"), "{line}");
    assert!(line.contains("once a new root lists it") && line.contains("\"info\""), "{line}");
    fleet.post_drop("one", &files([("file", "x")]));
    fleet.published("one");
    assert!(!fleet.log_of(TARGETS).contains("\"error\""), "{}", fleet.log_of(TARGETS));
}
