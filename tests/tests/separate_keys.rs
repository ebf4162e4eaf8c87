//! One key per process: whoever takes over one worker must not get two keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::time::Duration;

use system_tests::{Fleet, Keys, SNAPSHOT, TARGETS, TIMESTAMP};
use testkit::servers::{Process, RabbitMq};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_signing_worker_that_can_open_another_roles_key_refuses_to_start() {
    let mut fleet = Fleet::lay_out(RabbitMq::shared().vhost(), Keys::Ed25519, &[]);
    for (worker, other) in [(TARGETS, "timestamp"), (SNAPSHOT, "targets"), (TIMESTAMP, "root")] {
        let directory = fleet.path(worker).join("signing_keys").join(other);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("stolen"), "any file there is one too many").unwrap();
        let ended = Process::spawn(&mut fleet.command(worker)).wait(SOON);
        assert_eq!(
            ended.status.code(),
            Some(i32::from(service::exit_code::WorkerExit::Refused.code())),
            "{worker}\n{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(&format!("{other}/stolen")), "{worker} names it\n{}", ended.stderr);
        fs::remove_dir_all(&directory).unwrap();
    }
    assert_eq!(fs::read_dir(fleet.metadata()).unwrap().count(), 1, "nothing was signed beside 1.root.json");
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        fleet.start_worker(worker);
    }
    fleet.wait_ready();
}
