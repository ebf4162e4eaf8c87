//! Mounts that are read-only or missing: what stands on them waits and says so.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use system_tests::{Fleet, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients, eventually_ok};
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{RoleError, RoleErrorKind};

use crate::{Caller, files, fleet, stopped};

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

#[test]
fn a_read_only_mount_is_a_fault_of_the_machine_to_every_role_and_heals() {
    for mount in ["/repo/metadata", "/repo/targets", "/repo/log", "/repo"] {
        let fs = SimFs::new();
        fs.set_time(now().unix());
        let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", Options::default()).unwrap();
        let release = |name: &str| -> Result<(), String> {
            let submission = scratch.submission(name, &[(name, name.as_bytes())]).map_err(|error| error.to_string())?;
            let fault = |error: RoleError| {
                assert_eq!(error.kind(), RoleErrorKind::Infrastructure, "{mount}: {error:?}");
                error.to_string()
            };
            scratch.targets().unwrap().commit(&[submission], now()).map_err(fault)?;
            scratch.snapshot().unwrap().update(now(), false).map_err(fault)?;
            scratch.timestamp().unwrap().update(now(), false).map_err(fault)?;
            Ok(())
        };
        release("one").unwrap();
        let before = scratch.download_all(now()).unwrap();
        fs.refuse_writes(mount, std::io::ErrorKind::ReadOnlyFilesystem);
        let said = release("two").unwrap_err();
        assert!(said.contains("read-only"), "{mount}: {said}");
        assert_eq!(scratch.download_all(now()).unwrap(), before, "{mount}: clients notice nothing");
        fs.heal();
        release("two").unwrap();
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2, "{mount}");
    }
}

/// Takes a directory away, as when its mount is late, and brings it back.
struct Away(PathBuf, PathBuf);

impl Away {
    fn take(fleet: &Fleet, what: &str) -> Self {
        let (there, away) = (fleet.path(what), fleet.path("away"));
        fs::rename(&there, &away).unwrap();
        Self(there, away)
    }

    fn bring_back(self) {
        fs::rename(self.1, self.0).unwrap();
    }
}

/// A worker is not ready and says what it misses.
#[track_caller]
fn misses(fleet: &Fleet, worker: &str, path: &str) {
    let caller = Caller::of(fleet);
    eventually_ok(&format!("{worker} says what it misses"), || {
        let status = caller.call(worker, "status", serde_json::json!({})).unwrap();
        let detail = status["detail"].as_str().unwrap_or_default();
        if detail.contains(path) { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_missing_mount_is_waited_for_while_the_fleet_runs() {
    let fleet = fleet();
    fleet.post_drop("first", &files([("first", "1")]));
    fleet.published("first");
    let repository = Away::take(&fleet, "tuf_repo");
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        misses(&fleet, worker, "tuf_repo");
    }
    fleet.post_drop("second", &files([("second", "2")]));
    repository.bring_back();
    fleet.published("second");
    let post = Away::take(&fleet, "post_to_tuf");
    misses(&fleet, MONITOR, "post_to_tuf");
    post.bring_back();
    let inbound = Away::take(&fleet, "incoming_targets");
    fleet.post_drop("third", &files([("third", "3")]));
    misses(&fleet, MONITOR, "incoming_targets");
    inbound.bring_back();
    fleet.published("third");
    assert_eq!(clients::our_client(&fleet), files([("first", "1"), ("second", "2"), ("third", "3")]));
}

#[test]
fn a_missing_mount_at_start_is_waited_for_and_starts_no_version_1() {
    let mut fleet = stopped(&[]);
    let repository = Away::take(&fleet, "tuf_repo");
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    fleet.post_drop("first", &files([("first", "1")]));
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        misses(&fleet, worker, "mount");
    }
    assert!(!fleet.path("tuf_repo").exists(), "nobody made a repository where there should be a mount");
    repository.bring_back();
    fleet.published("first");
    assert_eq!(clients::our_client(&fleet), files([("first", "1")]));
}

#[test]
fn a_missing_private_volume_is_waited_for_and_nothing_is_signed_without_a_floor() {
    let mut fleet = fleet();
    fleet.post_drop("first", &files([("first", "1")]));
    fleet.published("first");
    fleet.kill(TARGETS);
    let state = Away::take(&fleet, "targets-worker/state");
    fleet.start_worker(TARGETS);
    misses(&fleet, TARGETS, "state_path");
    fleet.post_drop("second", &files([("second", "2")]));
    state.bring_back();
    fleet.published("second");
}
