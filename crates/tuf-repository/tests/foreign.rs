//! What exists is never started over, and a new repository always gets its first version.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use durable_fs::Fs;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::time::UtcTime;
use tuf_repository::roles::{RoleError, RoleErrorKind};

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn scratch(options: Options) -> (SimFs, Scratch) {
    Scratch::simulated(options, now()).unwrap()
}

fn release(scratch: &Scratch, name: &str) -> Result<(), RoleError> {
    let submission = scratch.submission(name, &[(name, name.as_bytes())]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now())?;
    publish(scratch)
}

fn publish(scratch: &Scratch) -> Result<(), RoleError> {
    scratch.snapshot().unwrap().update(now(), false)?;
    scratch.timestamp().unwrap().update(now(), false)?;
    Ok(())
}

fn remove(fs: &SimFs, unwanted: impl Fn(&str) -> bool) {
    for path in fs.files().into_keys().filter(|path| unwanted(&path.to_string_lossy())) {
        fs.remove_file(&path).unwrap();
    }
}

fn refused(result: Result<(), RoleError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), RoleErrorKind::Alarm);
    let said = error.to_string();
    assert!(said.contains("adopt") && said.contains("rugged recover"), "{said}");
}

#[test]
fn a_repository_without_records_is_not_started_over() {
    for options in Options::each_layout() {
        let (fs, scratch) = scratch(options);
        release(&scratch, "one").unwrap();
        // As a repository of other software looks: valid, and without a log and private state. Every version is 1 or 2.
        remove(&fs, |path| path.starts_with("/repo/log/") || path.contains("/state-"));
        for kept in ["", "timestamp", "snapshot", "timestamp|snapshot"] {
            let fs = fs.fork();
            let scratch = scratch.on(Arc::new(fs.clone()));
            // Any of its files is enough.
            remove(&fs, |path| !kept.is_empty() && kept.split('|').any(|role| path.contains(role)));
            let before = fs.files();
            let submission = scratch.submission("one", &[("one", b"one")]).unwrap();
            refused(scratch.targets().unwrap().reconcile(now(), false).map(drop));
            refused(scratch.targets().unwrap().commit(&[submission], now()).map(drop));
            assert_eq!(scratch.snapshot().unwrap().update(now(), false).unwrap_err().kind(), RoleErrorKind::Waiting);
            let after = fs.files();
            assert!(
                before
                    .iter()
                    .all(|(path, bytes)| path.to_string_lossy().contains("/state-") || after.get(path) == Some(bytes))
            );
        }
        assert_eq!(scratch.download_all(now()).unwrap().len(), 1);
    }
}

#[test]
fn snapshots_and_timestamps_of_other_keys_are_not_started_over() {
    let (other_fs, other) = scratch(Options::default());
    release(&other, "theirs").unwrap();
    for (name, from) in [
        ("7.snapshot.json", "1.snapshot.json"),
        ("snapshot.json", "1.snapshot.json"),
        ("timestamp.json", "timestamp.json"),
        (".7.timestamp.json", "timestamp.json"),
    ] {
        let (fs, scratch) = scratch(Options::default());
        scratch.targets().unwrap().reconcile(now(), false).unwrap();
        fs.plant(format!("/repo/metadata/{name}"), other_fs.contents(format!("/repo/metadata/{from}")).unwrap());
        refused(publish(&scratch));
        fs.remove_file(Path::new(&format!("/repo/metadata/{name}"))).unwrap();
        publish(&scratch).unwrap();
    }
}

#[test]
fn bytes_that_no_one_signed_do_not_hold_up_the_first_version() {
    let (fs, scratch) = scratch(Options::default());
    for name in ["1.targets.json", "targets.json", "1.snapshot.json", "timestamp.json", ".1.timestamp.json"] {
        let role = name.trim_start_matches(['1', '.']).trim_end_matches(".json");
        let body = format!(r#"{{"signatures":[],"signed":{{"_type":"{role}","targets":{{"a":{{}}}},"version":1}}}}"#);
        fs.plant(format!("/repo/metadata/{name}"), body);
    }
    release(&scratch, "one").unwrap();
    assert_eq!(scratch.download_all(now()).unwrap().len(), 1);
}

#[test]
fn a_first_version_cut_short_at_any_operation_is_finished_by_running_it_again() {
    let mut cuts = 0;
    for options in Options::each_layout() {
        let (base, scratch) = scratch(options);
        let fork = || {
            let fs = base.fork();
            (fs.clone(), scratch.on(Arc::new(fs)))
        };
        // Opening a role can be the operation that stops.
        let first = |scratch: &Scratch| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            scratch.targets()?.reconcile(now(), false)?;
            scratch.snapshot()?.update(now(), false)?;
            scratch.timestamp()?.update(now(), false)?;
            Ok(())
        };
        let (fs, whole) = fork();
        first(&whole).unwrap();
        for cut in 1..=fs.operations() {
            for mode in CrashMode::all(cut as u64) {
                let (fs, scratch) = fork();
                fs.stop_at(cut);
                let _ = first(&scratch);
                fs.crash(mode);
                // The signatures of the second run have another time.
                let later = now().plus_seconds(1);
                let context = format!("{options:?} {mode:?} {cut}");
                let submission = scratch.submission("one", &[("one", b"one")]).unwrap();
                scratch
                    .targets()
                    .unwrap()
                    .commit(&[submission], later)
                    .unwrap_or_else(|error| panic!("{context}: {error}"));
                scratch.snapshot().unwrap().update(later, false).unwrap_or_else(|error| panic!("{context}: {error}"));
                scratch.timestamp().unwrap().update(later, false).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(scratch.download_all(later).unwrap().len(), 1, "{context}");
                cuts += 1;
            }
        }
    }
    println!("{cuts} cut points");
}

#[test]
fn several_of_each_role_may_begin_together() {
    for options in Options::each_layout() {
        let (_, scratch) = scratch(options);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    scratch.targets().unwrap().reconcile(now(), false).unwrap();
                    publish(&scratch).unwrap();
                });
            }
        });
        release(&scratch, "one").unwrap();
        assert_eq!(scratch.download_all(now()).unwrap().len(), 1);
    }
}

#[test]
fn a_first_snapshot_that_another_process_writes_at_any_moment_is_not_taken_for_foreign_nor_for_ahead_of_the_log() {
    let (fs, scratch) = scratch(Options::default());
    let commit = |scratch: &Scratch, name: &str| {
        let submission = scratch.submission(name, &[(name, name.as_bytes())]).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
    };
    commit(&scratch, "one");
    // The files of another process, which commits once more and writes the first snapshot.
    let elsewhere = fs.fork();
    let other = scratch.on(Arc::new(elsewhere.clone()));
    commit(&other, "two");
    let covered = other.snapshot().unwrap().update(now(), false).unwrap().record;
    let before = fs.files();
    let theirs: Vec<_> = elsewhere
        .files()
        .into_iter()
        .filter(|(path, bytes)| !path.to_string_lossy().contains("/state-") && before.get(path) != Some(bytes))
        .collect();
    assert!(theirs.len() >= 3, "a record, a version of targets, a snapshot");
    let alone = fs.fork();
    scratch.on(Arc::new(alone.clone())).snapshot().unwrap().update(now(), false).unwrap();
    for at in 0..alone.calls() {
        let machine = fs.fork();
        let theirs = theirs.clone();
        machine.set_second_actor(move |fs, call| {
            if call == at {
                for (path, bytes) in &theirs {
                    fs.plant(path, bytes.clone());
                }
            }
        });
        let mut snapshot = scratch.on(Arc::new(machine)).snapshot().unwrap();
        snapshot.update(now(), false).unwrap_or_else(|error| panic!("at call {at}: {error}"));
        assert_eq!(snapshot.update(now(), false).unwrap().record, covered, "at call {at}");
    }
}
