//! The roles together: clients verify the files that they write, whatever is interrupted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::bins::BinLayout;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{Layout, Lifetime, RoleError, RoleErrorKind, Submission, TargetChange};

const DAY: i64 = 86_400;

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn variants() -> Vec<Options> {
    let bins = |count| Layout::Bins(BinLayout::new(count).unwrap());
    let mut all = Vec::new();
    for consistent_snapshot in [true, false] {
        for layout in [Layout::Flat, bins(4), bins(32)] {
            all.push(Options { consistent_snapshot, layout, ..Options::default() });
        }
    }
    all
}

fn scratch(options: Options) -> (SimFs, Scratch) {
    Scratch::simulated(options, now()).unwrap()
}

fn publish(scratch: &Scratch, now: UtcTime) {
    scratch.snapshot().unwrap().update(now, false).unwrap();
    scratch.timestamp().unwrap().update(now, false).unwrap();
}

/// A path that begins with `short` and a space, and falls into the same role or into another one.
fn longer(options: Options, short: &str, same_role: bool) -> String {
    let bin = |path: &str| match options.layout {
        Layout::Flat => 0,
        Layout::Bins(bins) => bins.index_of(&path.parse().unwrap()),
    };
    (0..).map(|n| format!("{short} {n}")).find(|path| (bin(path) == bin(short)) == same_role).unwrap()
}

fn refused(error: &RoleError) -> Vec<(&str, &str, &str)> {
    assert_eq!(error.kind(), RoleErrorKind::Refused);
    let RoleError::SortedApart(apart) = error else { panic!("{error}") };
    apart.iter().map(|apart| (apart.request.as_str(), apart.path.as_str(), apart.other.as_str())).collect()
}

#[test]
fn the_second_of_two_targets_that_tough_sorts_differently_is_refused() {
    for options in variants() {
        let (_, scratch) = scratch(options);
        let mut targets = scratch.targets().unwrap();
        targets.reconcile(now(), false).unwrap();
        let mut commit = |submissions: &[(&str, &[&str])]| {
            let submissions: Vec<Submission> = submissions
                .iter()
                .map(|(request, paths)| {
                    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (*path, request.as_bytes())).collect();
                    scratch.submission(request, &files).unwrap()
                })
                .collect();
            targets.commit(&submissions, now())
        };
        let [app, lib] = ["app", "lib"].map(|short| longer(options, short, true));
        commit(&[("one", &[&app]), ("two", &["lib", "tool"])]).unwrap();
        // The shorter one later, the longer one later, and both in one request.
        let error = commit(&[("three", &["fine"]), ("four", &["app"]), ("five", &[&lib])]).unwrap_err();
        assert_eq!(refused(&error), [("four", "app", app.as_str()), ("five", lib.as_str(), "lib")], "{options:?}");
        let zip = longer(options, "zip", true);
        assert_eq!(refused(&commit(&[("six", &["zip", &zip])]).unwrap_err()), [("six", "zip", zip.as_str())]);
        // Of two requests the later one is refused, but not because of one that is refused itself.
        let error = commit(&[("seven", &["zip"]), ("eight", &["app", &zip]), ("nine", &["app", "new"])]).unwrap_err();
        assert_eq!(refused(&error).iter().map(|apart| apart.0).collect::<Vec<_>>(), ["eight", "nine"]);
        let error = commit(&[("ten", &["app", &zip]), ("eleven", &["zip"])]).unwrap_err();
        assert_eq!(refused(&error).iter().map(|apart| apart.0).collect::<Vec<_>>(), ["ten"]);
        // Nothing was changed: the others are applied without them. Names that are only alike are fine.
        commit(&[("three", &["fine", "app-2", "lib.2"]), ("eleven", &["zip"])]).unwrap();
        if options.layout != Layout::Flat {
            commit(&[("twelve", &[&longer(options, "tool", false)])]).unwrap();
        }
        let remove = |path: &str| (path.parse().unwrap(), TargetChange::Remove { expected: None });
        targets.commit(&[Submission { request: "thirteen".into(), changes: vec![remove(&app)] }], now()).unwrap();
        targets.commit(&[scratch.submission("four", &[("app", b"four")]).unwrap()], now()).unwrap();
    }
}

#[test]
fn a_pair_that_was_signed_before_can_be_replaced() {
    let (_, mut scratch) = scratch(Options { portable_names: false, ..Options::default() });
    let pair = |scratch: &Scratch, request: &str| {
        let text = request.as_bytes();
        scratch.submission(request, &[("app", text), ("app 2", text)]).unwrap()
    };
    scratch.targets().unwrap().commit(&[pair(&scratch, "one")], now()).unwrap();
    scratch.options.portable_names = true;
    scratch.targets().unwrap().commit(&[pair(&scratch, "two")], now()).unwrap();
}

#[test]
fn clients_get_the_committed_targets() {
    for options in variants() {
        let (_, scratch) = scratch(options);
        let mut targets = scratch.targets().unwrap();
        targets.reconcile(now(), false).unwrap();
        publish(&scratch, now());
        assert_eq!(scratch.download_all(now()).unwrap(), BTreeMap::new(), "{options:?}");

        let first = scratch.submission("one", &[("a", b"first"), ("pkg/b", b"second"), ("pkg/deep/c", b"")]).unwrap();
        let commit = targets.commit(std::slice::from_ref(&first), now()).unwrap();
        assert_eq!(commit.applied[0].outcome.added, 3);
        publish(&scratch, now());
        let second = scratch.submission("two", &[("a", b"changed")]).unwrap();
        let remove = Submission {
            request: "three".into(),
            changes: vec![
                ("pkg/b".parse().unwrap(), TargetChange::Remove { expected: Some(Sha256::of(b"second")) }),
                ("nothing".parse().unwrap(), TargetChange::Remove { expected: None }),
            ],
        };
        let commit = targets.commit(&[second, remove], now()).unwrap();
        assert_eq!((commit.applied[1].outcome.removed, commit.applied[1].outcome.not_found), (1, 1));
        // Once more, as a second delivery would, by another process.
        let again = scratch.targets().unwrap().commit(&[first], now()).unwrap();
        assert!(again.applied[0].earlier && again.record.is_none());
        publish(&scratch, now());
        let files = scratch.download_all(now()).unwrap();
        let expected = [("a", "changed"), ("pkg/deep/c", "")].map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()));
        assert_eq!(files, expected.into(), "{options:?}");
    }
}

#[test]
fn nothing_to_do_writes_nothing() {
    for options in variants() {
        let (fs, scratch) = scratch(options);
        let submission = scratch.submission("one", &[("a", b"first")]).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
        publish(&scratch, now());
        let before = fs.files();
        assert!(scratch.targets().unwrap().reconcile(now(), false).unwrap().is_empty());
        assert!(!scratch.snapshot().unwrap().update(now(), false).unwrap().changed);
        assert!(!scratch.timestamp().unwrap().update(now(), false).unwrap().changed);
        assert_eq!(before, fs.files());
    }
}

#[test]
fn a_precondition_that_does_not_hold_changes_nothing() {
    let (_, scratch) = scratch(Options::default());
    let mut targets = scratch.targets().unwrap();
    targets.commit(&[scratch.submission("one", &[("a", b"first")]).unwrap()], now()).unwrap();
    let head = targets.log().head();
    let remove = Submission {
        request: "two".into(),
        changes: vec![("a".parse().unwrap(), TargetChange::Remove { expected: Some(Sha256::of(b"other")) })],
    };
    assert_eq!(targets.commit(&[remove], now()).unwrap_err().kind(), RoleErrorKind::Refused);
    assert_eq!(targets.log().head(), head);
}

#[test]
fn each_role_renews_itself_before_it_expires() {
    let (_, scratch) = scratch(Options {
        layout: Layout::Bins(BinLayout::new(16).unwrap()),
        lifetime: Lifetime { seconds: 7 * DAY, renew_before: 2 * DAY },
        ..Options::default()
    });
    let (mut targets, mut snapshot, mut timestamp) =
        (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
    targets.commit(&[scratch.submission("one", &[("a", b"first")]).unwrap()], now()).unwrap();
    for day in 0..40 {
        let now = now().plus_seconds(day * DAY);
        targets.reconcile(now, false).unwrap();
        snapshot.update(now, false).unwrap();
        timestamp.update(now, false).unwrap();
        assert_eq!(scratch.download_all(now).unwrap().len(), 1, "day {day}");
    }
    assert!(targets.current().unwrap().version >= 8);
}

#[test]
fn two_writers_of_each_role_lose_nothing() {
    let (_, scratch) = scratch(Options { layout: Layout::Bins(BinLayout::new(4).unwrap()), ..Options::default() });
    let threads: Vec<_> = (0..4)
        .map(|writer| {
            let scratch = scratch.clone();
            std::thread::spawn(move || {
                let (mut targets, mut snapshot, mut timestamp) =
                    (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
                for round in 0..5 {
                    let name = format!("file-{writer}-{round}");
                    let submission = scratch.submission(&name, &[(&name, name.as_bytes())]).unwrap();
                    targets.commit(&[submission], now()).unwrap();
                    snapshot.update(now(), false).unwrap();
                    timestamp.update(now(), false).unwrap();
                    // Whatever other writers do, this writer's file stays published.
                    assert!(scratch.download_all(now()).unwrap().contains_key(&name));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(scratch.download_all(now()).unwrap().len(), 20);
}

#[test]
fn state_restored_to_yesterday_is_not_signed_again() {
    let (fs, scratch) = scratch(Options::default());
    let one = scratch.submission("one", &[("a", b"first")]).unwrap();
    scratch.targets().unwrap().commit(&[one], now()).unwrap();
    publish(&scratch, now());
    let yesterday = fs.fork();
    let two = scratch.submission("two", &[("a", b"second")]).unwrap();
    scratch.targets().unwrap().commit(std::slice::from_ref(&two), now()).unwrap();
    publish(&scratch, now());
    // The repository goes back; the private state volumes do not.
    for path in fs.files().into_keys().filter(|path| !path.starts_with("/repo/state-targets")) {
        let text = path.to_string_lossy().into_owned();
        if text.contains("/state-") {
            continue;
        }
        match yesterday.contents(&path) {
            Some(bytes) => {
                fs.corrupt(&path, bytes);
            }
            None => durable_fs::Fs::remove_file(&fs, &path).unwrap(),
        }
    }
    let alarm = |result: Result<(), RoleError>| assert_eq!(result.unwrap_err().kind(), RoleErrorKind::Alarm);
    alarm(scratch.targets().unwrap().commit(&[two], now()).map(|_| ()));
    alarm(scratch.targets().unwrap().reconcile(now(), true).map(|_| ()));
    alarm(scratch.snapshot().unwrap().update(now(), true).map(|_| ()));
    alarm(scratch.timestamp().unwrap().update(now(), true).map(|_| ()));
}

#[test]
fn files_squatting_on_names_are_stepped_over() {
    for options in variants() {
        let (fs, scratch) = scratch(options);
        targets_first(&scratch);
        for name in
            ["metadata/3.targets.json", "metadata/2.snapshot.json", "metadata/.2.timestamp.json", "log/3.record.json"]
        {
            fs.plant(format!("/repo/{name}"), "garbage");
        }
        let submission = scratch.submission("two", &[("b", b"second")]).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
        publish(&scratch, now());
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2, "{options:?}");
    }
}

#[test]
fn a_name_that_a_squatter_gave_up_is_looked_at_again() {
    for options in variants() {
        let (fs, scratch) = scratch(options);
        targets_first(&scratch);
        let (mut targets, mut snapshot, mut timestamp) =
            (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
        let squatted = ["metadata/2.snapshot.json", "log/3.record.json"].map(|name| format!("/repo/{name}"));
        for name in &squatted {
            fs.plant(name, "garbage");
        }
        // Running workers step over them. Then an operator removes them.
        targets.reconcile(now(), false).unwrap();
        assert!(!snapshot.update(now(), false).unwrap().changed);
        assert!(!timestamp.update(now(), false).unwrap().changed);
        for name in &squatted {
            durable_fs::Fs::remove_file(&fs, name.as_ref()).unwrap();
        }
        // A restarted worker does not know them and uses the names.
        let commit = |name: &str| scratch.submission(name, &[(name, b"content")]).unwrap();
        scratch.targets().unwrap().commit(&[commit("b")], now()).unwrap();
        scratch.snapshot().unwrap().update(now(), false).unwrap();
        assert!(squatted.iter().all(|name| fs.files().contains_key(std::path::Path::new(name))), "{options:?}");

        assert!(timestamp.update(now(), false).unwrap().changed);
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2, "{options:?}");
        targets.commit(&[commit("c")], now()).unwrap();
        snapshot.update(now(), false).unwrap();
        timestamp.update(now(), false).unwrap();
        assert_eq!(scratch.download_all(now()).unwrap().len(), 3, "{options:?}");
    }
}

fn targets_first(scratch: &Scratch) {
    let submission = scratch.submission("one", &[("a", b"first")]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now()).unwrap();
    publish(scratch, now());
}

/// One release from commit to visible, by newly opened roles. A crash shows as an error.
fn release(scratch: &Scratch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let files: [(&str, &[u8]); 3] = [("a", b"second"), ("pkg/b", b"third"), ("pkg/deep/c", b"fourth")];
    let submission = scratch.submission("two", &files)?;
    scratch.targets()?.commit(&[submission], now())?;
    scratch.snapshot()?.update(now(), false)?;
    scratch.timestamp()?.update(now(), false)?;
    Ok(())
}

#[test]
fn a_release_cut_short_at_any_operation_is_finished_by_running_it_again() {
    let mut cuts = 0;
    for options in variants() {
        let (base, scratch) = scratch(options);
        targets_first(&scratch);
        let fork = |base: &SimFs| {
            let fs = base.fork();
            (fs.clone(), scratch.on(Arc::new(fs)))
        };
        let (fs, whole) = fork(&base);
        release(&whole).unwrap();
        let operations = fs.operations();
        for cut in 1..=operations {
            for mode in CrashMode::all(cut as u64) {
                let (fs, scratch) = fork(&base);
                fs.stop_at(cut);
                // A failed clean-up is no failure. A release that was reported as done must survive the crash.
                let done = release(&scratch).is_ok();
                fs.crash(mode);
                // Whatever a client sees right after the crash is the old release or the new one, whole; without
                // consistent snapshots a swap may be under way, which the timestamp role finishes at its start.
                if options.consistent_snapshot {
                    seen(&scratch, done, &format!("{options:?} {mode:?} {cut}"));
                }
                release(&scratch)
                    .unwrap_or_else(|error| panic!("{options:?} {mode:?} {cut}: {error}\n{:#?}", fs.log()));
                let files = scratch.download_all(now()).unwrap();
                assert_eq!(files.len(), 3, "{options:?} {mode:?} {cut}");
                assert_eq!(files["a"], b"second");
                cuts += 1;
            }
        }
    }
    println!("{cuts} cut points");
}

fn seen(scratch: &Scratch, done: bool, context: &str) {
    let files = scratch.download_all(now()).unwrap_or_else(|error| panic!("{context}: {error}"));
    match files["a"].as_slice() {
        b"first" => assert!(files.len() == 1 && !done, "{context}"),
        b"second" => assert_eq!(files.len(), 3, "{context}"),
        other => panic!("{context}: {other:?}"),
    }
}
