//! The share as it should not be: yesterday's, or with other files under the names to come.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use system_tests::{MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients, eventually_ok};
use testkit::servers::Process;

use crate::{Caller, SOON, files, fleet, logged, run};

#[test]
fn a_share_restored_to_yesterday_is_not_signed_and_no_drop_is_lost() {
    let mut fleet = fleet();
    fleet.post_drop("first", &files([("first", "1")]));
    fleet.published("first");
    let (share, yesterday, today) = (fleet.path("tuf_repo"), fleet.path("yesterday"), fleet.path("today"));
    assert!(run("cp", &[&"-a", &share, &yesterday]));
    fleet.post_drop("second", &files([("second", "2")]));
    fleet.published("second");
    for worker in WORKERS {
        fleet.kill(worker);
    }
    fs::rename(&share, &today).unwrap();
    fs::rename(&yesterday, &share).unwrap();
    let served = fs::read(fleet.metadata().join("timestamp.json")).unwrap();
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    fleet.post_drop("third", &files([("third", "3")]));
    let caller = Caller::of(&fleet);
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        eventually_ok(&format!("the alarm of {worker}"), || {
            let status = caller.call(worker, "status", json!({})).unwrap();
            let detail = status["detail"].as_str().unwrap_or_default();
            if status["state"] == "alarm" && detail.contains("below the floor") {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }
    logged(&fleet, MONITOR, "below the floor");
    assert_eq!(fs::read(fleet.metadata().join("timestamp.json")).unwrap(), served, "nothing was signed");
    assert!(fleet.posted().contains(&"tuf_processing_third".to_owned()), "it waits: {:?}", fleet.posted());
    for worker in WORKERS {
        fleet.kill(worker);
    }
    fs::remove_dir_all(&share).unwrap();
    fs::rename(&today, &share).unwrap();
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    fleet.published("third");
    assert_eq!(clients::our_client(&fleet), files([("first", "1"), ("second", "2"), ("third", "3")]));
}

#[test]
fn squatted_names_of_metadata_and_records_are_stepped_over() {
    let mut fleet = fleet();
    fleet.post_drop("first", &files([("first", "1")]));
    fleet.published("first");
    for number in 1..12 {
        for (dir, name) in [
            (fleet.metadata(), format!("{number}.targets.json")),
            (fleet.metadata(), format!("{number}.snapshot.json")),
            (fleet.metadata(), format!(".{number}.timestamp.json")),
            (fleet.records(), format!("{number}.record.json")),
        ] {
            // The names that are free.
            if let Ok(mut file) = fs::File::create_new(dir.join(name)) {
                std::io::Write::write_all(&mut file, b"squatted").unwrap();
            }
        }
    }
    // Numbers far above, and a root: no role takes its next number from them.
    for number in ["9223372036854775806", "9007199254740990", "1000000"] {
        for name in ["targets.json", "snapshot.json", "root.json"] {
            fs::write(fleet.metadata().join(format!("{number}.{name}")), "").unwrap();
        }
        fs::write(fleet.metadata().join(format!(".{number}.timestamp.json")), "").unwrap();
        for name in ["record.json", "base.json"] {
            fs::write(fleet.records().join(format!("{number}.{name}")), "").unwrap();
        }
    }
    fleet.post_drop("second", &files([("second", "2")]));
    fleet.published("second");
    for worker in WORKERS {
        fleet.kill(worker);
        fleet.start_worker(worker);
    }
    fleet.post_drop("third", &files([("third", "3")]));
    fleet.published("third");
    let all = files([("first", "1"), ("second", "2"), ("third", "3")]);
    assert_eq!(clients::our_client(&fleet), all);
    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&all));
}

/// A process of another user that can open a lock's file can hold it, and be stopped while it does.
#[test]
fn a_frozen_process_that_holds_a_lock_stops_no_release() {
    let mut fleet = fleet();
    fleet.post_drop("first", &files([("first", "1")]));
    fleet.published("first");
    let lock = fleet.metadata().join(".timestamp.lock");
    let mut holder = Process::spawn(Command::new("flock").args(["--exclusive", "--no-fork"]).arg(&lock).args([
        "sh",
        "-c",
        "echo held; exec sleep 600",
    ]));
    holder.wait_for_line("held", SOON);
    holder.signal(Signal::STOP);
    fleet.post_drop("second", &files([("second", "2")]));
    fleet.published("second");
    for worker in WORKERS {
        fleet.kill(worker);
        fleet.start_worker(worker);
    }
    fleet.post_drop("third", &files([("third", "3")]));
    fleet.published("third");
    eventually_ok("a notice that names the lock", || {
        let status = Caller::of(&fleet).call(TIMESTAMP, "status", json!({})).unwrap();
        if status.to_string().contains(".timestamp.lock") { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(clients::our_client(&fleet), files([("first", "1"), ("second", "2"), ("third", "3")]));
    holder.kill();
}

#[test]
fn a_squatted_name_of_a_target_file_is_reported_and_the_drop_waits_until_it_is_gone() {
    let fleet = fleet();
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, b"content"));
    let squat = fleet.targets().join(format!("{hash}.file"));
    fs::create_dir_all(fleet.targets()).unwrap();
    fs::write(&squat, "other bytes").unwrap();
    fleet.post_drop("one", &files([("file", "content")]));
    let line = logged(&fleet, MONITOR, "does not match the hash in its name");
    assert!(line.contains(&format!("{hash}.file")) && line.contains("remove it from the targets directory"), "{line}");
    fs::remove_file(&squat).unwrap();
    fleet.published("one");
    assert_eq!(clients::our_client(&fleet), files([("file", "content")]));
}
