//! A backup taken during releases: in the order of the operations guide it verifies without any repair, whatever is released in
//! between, and the roles resume from it without an alarm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::Fs as _;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::bins::BinLayout;
use tuf_core::time::UtcTime;
use tuf_repository::floor::{Floor, FloorFile};
use tuf_repository::roles::recover::{self, FlooredRole};
use tuf_repository::roles::{Layout, RoleError, Trust};

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn release(scratch: &Scratch, name: &str) -> Result<(), RoleError> {
    let files: [(&str, &[u8]); 3] = [("latest", name.as_bytes()), (name, b"own"), ("pkg/b", b"the same")];
    let submission = scratch.submission(name, &files).unwrap();
    scratch.targets().unwrap().commit(&[submission], now())?;
    scratch.snapshot().unwrap().update(now(), false)?;
    scratch.timestamp().unwrap().update(now(), false)?;
    Ok(())
}

/// The steps of a backup. Each copies the files that the copy does not hold yet.
type Step = fn(&Path) -> bool;
const ORDER: [Step; 5] = [
    |path| path == Path::new("/repo/metadata/timestamp.json"),
    |path| path.to_string_lossy().ends_with(".snapshot.json"),
    |path| path.starts_with("/repo/log"),
    |path| path.starts_with("/repo/metadata") && !path.to_string_lossy().ends_with(".snapshot.json"),
    |path| path.starts_with("/repo/targets"),
];

/// A copy, taken in `order`; before step `n` something is released if bit `n` of `released` is set.
fn copy(live: &Scratch, fs: &SimFs, order: &[Step], released: u32) -> SimFs {
    let copy = SimFs::new();
    copy.set_time(now().unix());
    for role in ["targets", "snapshot", "timestamp"] {
        copy.plant_dir(format!("/repo/state-{role}"));
    }
    for (number, step) in order.iter().enumerate() {
        if released & (1 << number) != 0 {
            release(live, &format!("meanwhile-{number}")).unwrap();
        }
        let new: Vec<(PathBuf, Vec<u8>)> =
            fs.files().into_iter().filter(|(path, _)| step(path) && copy.stat(path).is_err()).collect();
        for (path, bytes) in new {
            copy.plant(path, bytes);
        }
    }
    copy
}

/// As `rugged recover --beyond`.
fn resume_above(scratch: &Scratch) {
    let roles =
        [("targets", FlooredRole::Targets), ("snapshot", FlooredRole::Snapshot), ("timestamp", FlooredRole::Timestamp)];
    for (role, floored) in roles {
        let repository = scratch.repository();
        let mut trust = Trust::new(&scratch.root, Arc::clone(&repository.metadata), Vec::new()).unwrap();
        let above = recover::floor_above(floored, &repository, &mut trust, &Floor::default(), 1_000, now()).unwrap();
        let state = scratch.dir.join(format!("state-{role}"));
        let mut file = FloorFile::open(Arc::clone(&scratch.fs), &state).unwrap();
        file.raise(|floor| *floor = above).unwrap();
        file.grant_recovery().unwrap();
    }
}

fn every_copy(options: Options, order: &[Step], mut check: impl FnMut(&Scratch, u32)) {
    for released in 0..1 << order.len() {
        let fs = SimFs::new();
        fs.set_time(now().unix());
        let live = Scratch::new(Arc::new(fs.clone()), "/repo", options).unwrap();
        release(&live, "first").unwrap();
        let copy = copy(&live, &fs, order, released);
        check(&live.on(Arc::new(copy)), released);
    }
}

#[test]
fn a_backup_in_the_documented_order_verifies_and_roles_resume_from_it_without_an_alarm() {
    let bins = Layout::Bins(BinLayout::new(4).unwrap());
    for (consistent_snapshot, layout) in [(true, Layout::Flat), (true, bins), (false, bins)] {
        every_copy(Options { consistent_snapshot, layout, ..Options::default() }, &ORDER, |copied, released| {
            if consistent_snapshot {
                let files = copied.download_all(now()).unwrap_or_else(|error| panic!("{released:05b}: {error}"));
                assert!(files.contains_key("first"));
            } else {
                // Plain files are of several days; the recovery replaces them.
                resume_above(copied);
            }
            release(copied, "next").unwrap_or_else(|error| panic!("{released:05b}: {error}"));
            let files = copied.download_all(now()).unwrap_or_else(|error| panic!("{released:05b}: {error}"));
            assert_eq!((&files["latest"][..], &files["pkg/b"][..]), (&b"next"[..], &b"the same"[..]));
        });
    }
}

#[test]
fn a_backup_in_the_opposite_order_lists_files_that_it_does_not_hold() {
    let order: Vec<Step> = ORDER.into_iter().rev().collect();
    let mut broken = 0;
    every_copy(Options::default(), &order, |copied, _| broken += u32::from(copied.download_all(now()).is_err()));
    assert!(broken > 0, "the order does not matter, and the guide should not say so");
}
