//! Plain names, without consistent snapshots: what someone changes or removes is copied again, or reported.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use durable_fs::Fs;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::bins::BinLayout;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{Layout, TimestampRole};

const FILES: [(&str, &[u8]); 3] = [("a", b"first"), ("pkg/b", b"second"), ("pkg/deep/c", b"third")];

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn scratches() -> Vec<(SimFs, Scratch)> {
    let bins = Layout::Bins(BinLayout::new(4).unwrap());
    let made = [Layout::Flat, bins].map(|layout| {
        let fs = SimFs::new();
        fs.set_time(now().unix());
        let options = Options { consistent_snapshot: false, layout, ..Options::default() };
        let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", options).unwrap();
        let submission = scratch.submission("one", &FILES).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
        scratch.snapshot().unwrap().update(now(), false).unwrap();
        scratch.timestamp().unwrap().update(now(), false).unwrap();
        (fs, scratch)
    });
    made.into()
}

/// Runs the role, which has nothing to sign.
fn reconcile(timestamp: &mut TimestampRole, now: UtcTime) -> String {
    assert!(!timestamp.update(now, false).unwrap().changed);
    timestamp.notices().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plain_file_that_was_changed_or_removed_is_copied_again() {
    type Damage = fn(&SimFs, &str);
    let damages: [Damage; 4] = [
        |fs, path| fs.remove_file(Path::new(path)).unwrap(),
        |fs, path| assert!(fs.corrupt(path, "longer than it was before")),
        |fs, path| assert!(fs.corrupt(path, "")),
        |fs, path| {
            fs.remove_file(Path::new(path)).unwrap();
            fs.plant_symlink(path, "/etc/passwd");
        },
    ];
    for (fs, scratch) in scratches() {
        let mut running = scratch.timestamp().unwrap();
        assert_eq!(reconcile(&mut running, now()), "");
        let good = fs.files();
        let plain =
            ["targets/a", "targets/pkg/b", "targets/pkg/deep/c", "metadata/targets.json", "metadata/snapshot.json"];
        for damage in damages {
            for name in plain {
                let path = format!("/repo/{name}");
                damage(&fs, &path);
                assert_eq!(reconcile(&mut running, now()), "", "{name}");
                assert_eq!(fs.contents(&path).as_ref(), good.get(Path::new(&path)), "{name}");
            }
        }
        assert_eq!(scratch.download_all(now()).unwrap().len(), 3);
    }
}

#[test]
fn a_plain_file_that_kept_its_length_is_found_by_its_time_or_by_its_bytes() {
    for (fs, scratch) in scratches() {
        let mut running = scratch.timestamp().unwrap();
        reconcile(&mut running, now());
        let path = Path::new("/repo/targets/a");
        let changed = |bytes: &str, mtime: Option<i64>| {
            let before = fs.stat(path).unwrap().mtime;
            fs.remove_file(path).unwrap();
            fs.plant(path, bytes);
            fs.set_mtime(path, mtime.unwrap_or(before)).unwrap();
        };
        changed("FIRST", Some(now().unix() + 100));
        reconcile(&mut running, now());
        assert_eq!(fs.contents(path).unwrap(), b"first");
        // A process that has just started knows no times.
        changed("FIRST", None);
        reconcile(&mut scratch.timestamp().unwrap(), now());
        assert_eq!(fs.contents(path).unwrap(), b"first");
        // A running one compares the bytes again after a day.
        reconcile(&mut running, now());
        changed("FIRST", None);
        reconcile(&mut running, now().plus_seconds(86_400));
        assert_eq!(fs.contents(path).unwrap(), b"first");
    }
}

#[test]
fn a_plain_file_that_cannot_be_copied_again_is_named() {
    for (fs, scratch) in scratches() {
        let mut running = scratch.timestamp().unwrap();
        let hashed = format!("/repo/targets/pkg/{}.b", Sha256::of(b"second"));
        let bytes = fs.contents(&hashed).unwrap();
        fs.remove_file(Path::new(&hashed)).unwrap();
        for name in ["a", "pkg/b"] {
            fs.remove_file(&Path::new("/repo/targets").join(name)).unwrap();
        }
        let notice = reconcile(&mut running, now());
        assert!(notice.contains("pkg/b") && notice.contains("post these files again"), "{notice}");
        assert_eq!(fs.contents("/repo/targets/a").unwrap(), b"first");
        fs.plant(&hashed, bytes);
        assert_eq!(reconcile(&mut running, now()), "");
        assert_eq!(scratch.download_all(now()).unwrap().len(), 3);
    }
}

#[test]
fn target_files_are_left_alone_where_the_fleet_does_not_serve_them() {
    let fs = SimFs::new();
    fs.set_time(now().unix());
    let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", Options::default()).unwrap();
    let submission = scratch.submission("one", &FILES).unwrap();
    scratch.targets().unwrap().commit(&[submission], now()).unwrap();
    scratch.snapshot().unwrap().update(now(), false).unwrap();
    let mut timestamp = scratch.timestamp().unwrap();
    timestamp.update(now(), false).unwrap();
    reconcile(&mut timestamp, now());
    assert!(fs.contents("/repo/targets/a").is_none());
}
