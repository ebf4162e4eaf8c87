//! What the snapshot and the timestamp role answer where one does not see the newest file of the other: a cached lookup of a
//! network mount says for a while that a new name does not exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::ErrorKind;
use std::sync::Arc;

use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::time::UtcTime;

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

/// A repository with one release that clients see.
fn published() -> (SimFs, Scratch) {
    let fs = SimFs::new();
    fs.set_time(now().unix());
    let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", Options::default()).unwrap();
    release(&scratch, "one");
    scratch.snapshot().unwrap().update(now(), false).unwrap();
    scratch.timestamp().unwrap().update(now(), false).unwrap();
    (fs, scratch)
}

fn release(scratch: &Scratch, name: &str) -> u64 {
    let submission = scratch.submission(name, &[(name, name.as_bytes())]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now()).unwrap().record.unwrap()
}

#[test]
fn the_snapshot_role_answers_which_record_its_snapshot_covers() {
    let (fs, scratch) = published();
    let mut snapshot = scratch.snapshot().unwrap();
    let before = snapshot.update(now(), false).unwrap();
    let record = release(&scratch, "two");
    assert_eq!(before.record, Some(record - 1));
    fs.fail_path(format!("/repo/log/{record}.record.json"), ErrorKind::NotFound);
    let hidden = snapshot.update(now(), false).unwrap();
    assert_eq!((hidden.version, hidden.record), (before.version, Some(record - 1)), "it does not see the record");
    fs.heal();
    let seen = snapshot.update(now(), false).unwrap();
    assert_eq!((seen.version, seen.changed, seen.record), (before.version + 1, true, Some(record)));
    // Also a process that finds everything done.
    assert_eq!(scratch.snapshot().unwrap().update(now(), false).unwrap().record, Some(record));
}

#[test]
fn the_timestamp_role_answers_which_snapshot_clients_are_served() {
    let (fs, scratch) = published();
    let mut timestamp = scratch.timestamp().unwrap();
    let before = timestamp.update(now(), false).unwrap();
    release(&scratch, "two");
    let snapshot = scratch.snapshot().unwrap().update(now(), false).unwrap().version;
    fs.fail_path(format!("/repo/metadata/{snapshot}.snapshot.json"), ErrorKind::NotFound);
    let hidden = timestamp.update(now(), false).unwrap();
    assert_eq!(
        (hidden.version, hidden.snapshot),
        (before.version, Some(snapshot - 1)),
        "success, and nothing is shown"
    );
    fs.heal();
    let seen = timestamp.update(now(), false).unwrap();
    assert_eq!((seen.version, seen.snapshot), (before.version + 1, Some(snapshot)));
    assert_eq!(scratch.timestamp().unwrap().update(now(), false).unwrap().snapshot, Some(snapshot));
}

#[test]
fn the_timestamp_role_answers_with_what_another_process_shows() {
    let (_, scratch) = published();
    let mut slow = scratch.timestamp().unwrap();
    let before = slow.update(now(), false).unwrap();
    release(&scratch, "two");
    let snapshot = scratch.snapshot().unwrap().update(now(), false).unwrap().version;
    scratch.timestamp().unwrap().update(now(), false).unwrap();
    let shown = slow.update(now(), false).unwrap();
    assert_eq!((shown.version, shown.changed, shown.snapshot), (before.version + 1, false, Some(snapshot)));
}

#[test]
fn a_timestamp_of_a_process_that_did_not_see_the_newest_snapshot_is_never_shown_over_it() {
    let (fs, scratch) = published();
    // Another process, which sees nothing of the next release, signs versions 2 and 3.
    let elsewhere = fs.fork();
    let mut blind = scratch.on(Arc::new(elsewhere.clone())).timestamp().unwrap();
    assert_eq!([2, 3].map(|_| blind.update(now(), true).unwrap().version), [2, 3]);
    release(&scratch, "two");
    let snapshot = scratch.snapshot().unwrap().update(now(), false).unwrap().version;
    assert_eq!(scratch.timestamp().unwrap().update(now(), false).unwrap().version, 2);
    let late = "/repo/metadata/.3.timestamp.json";
    fs.plant(late, elsewhere.contents(late).unwrap());
    let shown = scratch.timestamp().unwrap().update(now(), true).unwrap();
    assert_eq!((shown.version, shown.snapshot), (4, Some(snapshot)));
    scratch.client().unwrap();
}

#[test]
fn a_record_that_a_listing_left_out_does_not_hide_the_one_behind_it() {
    let (fs, scratch) = published();
    let (left_out, newest) = (release(&scratch, "two"), release(&scratch, "three"));
    let mut snapshot = scratch.snapshot().unwrap();
    // A process that starts: it is listed the newest record, and not the one before.
    fs.hide(format!("/repo/log/{left_out}.record.json"), 4);
    let mut covered = snapshot.update(now(), false).unwrap().record;
    assert_eq!(covered, Some(left_out - 1));
    fs.heal();
    for _ in 0..2 {
        covered = snapshot.update(now(), false).unwrap().record;
    }
    assert_eq!(covered, Some(newest));
}
