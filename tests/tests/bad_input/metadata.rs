//! Metadata on disk that is expired, tampered with or rolled back: it is never signed for, and never lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::Fs as _;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{RoleError, RoleErrorKind};

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

/// A repository with one release.
fn released() -> (SimFs, Scratch) {
    let fs = SimFs::new();
    fs.set_time(now().unix());
    let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", Options::default()).unwrap();
    release(&scratch, "one", now()).unwrap();
    (fs, scratch)
}

fn release(scratch: &Scratch, name: &str, now: UtcTime) -> Result<(), RoleError> {
    let submission = scratch.submission(name, &[(name, name.as_bytes())]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now)?;
    scratch.snapshot().unwrap().update(now, false)?;
    scratch.timestamp().unwrap().update(now, false)?;
    Ok(())
}

fn newest(fs: &SimFs, role: &str) -> PathBuf {
    let suffix = format!(".{role}.json");
    let versions = fs.files().into_keys().filter_map(|path| {
        let name = path.strip_prefix("/repo/metadata").ok()?.to_str()?;
        Some((name.strip_suffix(&suffix)?.parse::<u64>().ok()?, path.clone()))
    });
    versions.max().unwrap().1
}

#[track_caller]
fn alarm<T: std::fmt::Debug>(result: Result<T, RoleError>, why: &str) {
    match result {
        Err(error) if error.kind() == RoleErrorKind::Alarm => assert!(error.to_string().contains(why), "{error}"),
        other => panic!("no alarm of {why:?} but {other:?}"),
    }
}

#[test]
fn expired_metadata_is_renewed_from_below_and_not_vouched_for_before() {
    let (_, scratch) = released();
    // Everything was off for a month.
    let now = now().plus_seconds(30 * 86_400);
    assert!(scratch.download_all(now).is_err(), "clients refuse it");
    let waiting = scratch.timestamp().unwrap().update(now, true);
    let error = waiting.unwrap_err();
    assert_eq!(error.kind(), RoleErrorKind::Waiting, "{error}");
    let why = error.to_string();
    assert!(why.contains("snapshot") && why.contains("expired") && why.contains("renewed first"), "{why}");
    scratch.targets().unwrap().reconcile(now, false).unwrap();
    scratch.snapshot().unwrap().update(now, false).unwrap();
    scratch.timestamp().unwrap().update(now, false).unwrap();
    assert_eq!(scratch.download_all(now).unwrap()["one"], b"one");
}

#[test]
fn an_expired_root_stops_every_role_with_an_alarm() {
    let (fs, scratch) = released();
    let before = fs.files();
    let later = UtcTime::from_unix(4_000_000_001);
    let why = "root version 1 expired at 2096-10-02";
    alarm(scratch.targets().unwrap().reconcile(later, true), why);
    alarm(scratch.snapshot().unwrap().update(later, true), why);
    alarm(scratch.timestamp().unwrap().update(later, true), why);
    assert_eq!(fs.files(), before, "nothing was signed");
}

#[test]
fn tampered_metadata_is_not_signed_for_and_what_was_published_stays() {
    let (fs, scratch) = released();
    let seen = scratch.download_all(now()).unwrap();
    let submission = scratch.submission("two", &[("two", b"two")]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now()).unwrap();
    // One byte of what the snapshot role is about to vouch for.
    let targets = newest(&fs, "targets");
    let right = fs.contents(&targets).unwrap();
    let mut wrong = right.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    fs.corrupt(&targets, wrong);
    alarm(scratch.snapshot().unwrap().update(now(), false), "targets");
    alarm(scratch.targets().unwrap().reconcile(now(), true), "its bytes are not those that the commit log names");
    assert_eq!(scratch.download_all(now()).unwrap(), seen);
    fs.corrupt(&targets, right);
    scratch.snapshot().unwrap().update(now(), false).unwrap();
    // And one of what the timestamp role is about to: it does not verify, so it is no state, and no older one may be used.
    let snapshot = newest(&fs, "snapshot");
    let right = fs.contents(&snapshot).unwrap();
    let mut wrong = right.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    fs.corrupt(&snapshot, wrong);
    assert!(!scratch.timestamp().unwrap().update(now(), false).unwrap().changed);
    alarm(scratch.snapshot().unwrap().update(now(), true), "below the floor");
    assert_eq!(scratch.download_all(now()).unwrap(), seen);
    fs.corrupt(&snapshot, right);
    scratch.timestamp().unwrap().update(now(), false).unwrap();
    assert_eq!(scratch.download_all(now()).unwrap().len(), 2);
}

#[test]
fn rolled_back_metadata_is_not_signed_for_and_recovers_when_restored() {
    let (fs, scratch) = released();
    let old_record = newest(&fs, "snapshot");
    release(&scratch, "two", now()).unwrap();
    for role in ["snapshot", "targets"] {
        let path = newest(&fs, role);
        let bytes = fs.contents(&path).unwrap();
        assert_ne!(path, old_record);
        fs.remove_file(&path).unwrap();
        if role == "snapshot" {
            alarm(scratch.snapshot().unwrap().update(now(), true), "below the floor");
            alarm(scratch.timestamp().unwrap().update(now(), true), "below the floor");
        } else {
            alarm(scratch.targets().unwrap().reconcile(now(), true), "is missing, but the commit log names it");
        }
        fs.plant(&path, bytes);
    }
    release(&scratch, "three", now()).unwrap();
    assert_eq!(scratch.download_all(now()).unwrap().len(), 3);
}

#[test]
fn a_served_timestamp_rolled_back_by_others_is_brought_forward_again() {
    let (fs, scratch) = released();
    let served = Path::new("/repo/metadata/timestamp.json");
    let yesterday = fs.contents(served).unwrap();
    release(&scratch, "two", now()).unwrap();
    let today = fs.contents(served).unwrap();
    for wrong in [yesterday, b"not even metadata".to_vec()] {
        fs.remove_file(served).unwrap();
        fs.plant(served, wrong);
        assert!(!scratch.timestamp().unwrap().update(now(), false).unwrap().changed, "nothing is signed");
        assert_eq!(fs.contents(served).unwrap(), today);
    }
    assert_eq!(scratch.download_all(now()).unwrap().len(), 2);
}
