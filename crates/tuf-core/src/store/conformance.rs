//! The tests that every [`Store`] must pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a check fails by panicking")]

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{CopyFile, Created, FileName, NewFile, ReplaceOptions, Store, StoreError};
use crate::sha256::{FileDigest, Sha256};

type Make<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// Checks that the stores that `make` returns, each new and empty, keep the guarantees of [`Store`].
///
/// # Panics
/// When they do not.
pub fn check(make: Make<'_>) {
    files_are_created_once(make().as_ref());
    a_batch_says_what_became_of_each_file(make().as_ref());
    a_large_batch_is_created_whole(make().as_ref());
    streams_are_hashed_once_and_named_later(make().as_ref());
    streams_that_fail_leave_nothing(make().as_ref());
    the_first_bytes_of_a_file_may_come_last(make().as_ref());
    replaced_files_get_newer_times(make().as_ref());
    copies_are_files_of_their_own(make().as_ref());
    copies_of_wrong_bytes_replace_nothing(make().as_ref());
    many_copies_are_made_together(make().as_ref());
    lists_show_one_directory(make().as_ref());
    removing_what_is_gone_succeeds(make().as_ref());
    what_is_older_is_removed(make().as_ref());
    reads_are_bounded(make().as_ref());
    bad_directories_are_refused(make().as_ref());
    locks_exclude_each_other(make().as_ref());
    racing_creators_have_one_winner(make().as_ref());
}

fn name(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

fn read(store: &dyn Store, file: &str) -> Option<Vec<u8>> {
    store.read(&name(file), 1 << 20).unwrap()
}

/// Computed without [`Sha256`], which stores use themselves.
fn sha256(bytes: &[u8]) -> Sha256 {
    let digest: [u8; 32] = ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap();
    digest.into()
}

fn create(store: &dyn Store, file: &str, bytes: &[u8]) -> Created {
    store.create(&name(file), bytes).unwrap()
}

fn files_are_created_once(store: &dyn Store) {
    assert_eq!(read(store, "1.root.json"), None);
    assert_eq!(store.stat(&name("a/b")).unwrap(), None);
    assert_eq!(create(store, "1.root.json", b"one"), Created::New);
    assert_eq!(create(store, "1.root.json", b"one"), Created::Same);
    for other in [&b"two"[..], b"", b"one and more", b"on"] {
        assert_eq!(create(store, "1.root.json", other), Created::Conflict);
    }
    assert_eq!(read(store, "1.root.json").unwrap(), b"one");
    assert_eq!(store.stat(&name("1.root.json")).unwrap().unwrap().len, 3);
    assert_eq!(create(store, "empty", b""), Created::New);
    assert_eq!(create(store, "empty", b""), Created::Same);
    assert_eq!(create(store, "a/b/c/deep", b"x"), Created::New);
    assert_eq!(read(store, "a/b/c/deep").unwrap(), b"x");
    // A file has nothing below it.
    assert_eq!(read(store, "1.root.json/x"), None);
}

fn a_batch_says_what_became_of_each_file(store: &dyn Store) {
    create(store, "same", b"s");
    create(store, "dir/taken", b"t");
    let made = store.create_all(vec![
        NewFile::bytes(name("new"), &b"n"[..]),
        NewFile::bytes(name("same"), &b"s"[..]),
        NewFile::bytes(name("dir/taken"), &b"other"[..]),
        NewFile::bytes(name("dir/new"), b"owned".to_vec()),
    ]);
    assert_eq!(made.unwrap(), [Created::New, Created::Same, Created::Conflict, Created::New]);
    assert_eq!(read(store, "dir/taken").unwrap(), b"t");
    assert_eq!(read(store, "dir/new").unwrap(), b"owned");
    assert_eq!(store.create_all(Vec::new()).unwrap(), []);
}

fn a_large_batch_is_created_whole(store: &dyn Store) {
    let file = |i: usize| format!("bins/{}/{i}.json", i % 7);
    let batch = |range: std::ops::Range<usize>| {
        range.map(|i| NewFile::bytes(name(&file(i)), file(i).into_bytes())).collect::<Vec<_>>()
    };
    assert_eq!(store.create_all(batch(0..50)).unwrap(), [Created::New; 50]);
    let again = store.create_all(batch(25..75)).unwrap();
    assert!(again.iter().take(25).all(|c| *c == Created::Same) && again.iter().skip(25).all(|c| *c == Created::New));
    for i in 0..75 {
        assert_eq!(read(store, &file(i)).unwrap(), file(i).as_bytes());
    }
    assert_eq!(store.list_dirs("bins").unwrap().len(), 7);
}

fn the_first_bytes_of_a_file_may_come_last(store: &dyn Store) {
    let long = vec![b'x'; 300_000];
    for (number, body) in [&b"body"[..], b"", &long].into_iter().enumerate() {
        let file = name(&format!("{number}.targets.json"));
        let behind = |head: usize| store.stage_tail("", head, &[body, b"}"]).unwrap();
        assert_eq!(store.read(&file, 1 << 20).unwrap(), None, "it has no name yet");
        let create =
            |head: &[u8]| store.create_all(vec![NewFile::head_and_tail(file.clone(), head.to_vec(), behind(5))]);
        assert_eq!(create(b"head:").unwrap(), [Created::New]);
        assert_eq!(read(store, file.as_str()).unwrap(), [b"head:", body, b"}"].concat());
        assert_eq!(create(b"head:").unwrap(), [Created::Same]);
        assert_eq!(create(b"other").unwrap(), [Created::Conflict]);
        for wrong in [&b"head"[..], b"a head", b""] {
            assert!(matches!(create(wrong), Err(StoreError::Mismatch { .. })), "room was left for five bytes");
        }
        drop(behind(5));
        let beside = vec![
            NewFile::head_and_tail(name(&format!("a/{number}")), &b"h"[..], behind(1)),
            NewFile::bytes(name(&format!("b/{number}")), &b"b"[..]),
        ];
        assert_eq!(store.create_all(beside).unwrap(), [Created::New; 2]);
        assert_eq!(read(store, &format!("a/{number}")).unwrap(), [b"h", body, b"}"].concat());
    }
    assert_eq!(store.list("").unwrap(), ["0.targets.json", "1.targets.json", "2.targets.json"]);
}

fn streams_are_hashed_once_and_named_later(store: &dyn Store) {
    let bytes: Vec<u8> = (0..600_000_u32).map(|i| (i % 251) as u8).collect();
    let staged = store.stage("targets", &mut &bytes[..], 600_000).unwrap();
    assert_eq!((staged.length(), staged.sha256()), (600_000, sha256(&bytes)));
    assert_eq!(store.list("targets").unwrap(), [""; 0], "a staged stream has no name");
    let names = vec![name("targets/dir/HASH.name"), name("targets/dir/HASH.dir/name")];
    let made =
        store.create_all(vec![NewFile::staged(names.clone(), staged), NewFile::bytes(name("metadata/x"), &b"x"[..])]);
    assert_eq!(made.unwrap(), [Created::New, Created::New]);
    for file in &names {
        assert_eq!(read(store, file.as_str()).unwrap(), bytes);
        let digest = store.digest(file, 600_000).unwrap().unwrap();
        assert_eq!(digest, FileDigest { length: 600_000, sha256: sha256(&bytes) });
    }
    let mut opened = Vec::new();
    store.open(&names[0]).unwrap().unwrap().read_to_end(&mut opened).unwrap();
    assert_eq!(opened, bytes);
    assert!(store.open(&name("targets/none")).unwrap().is_none());

    let stage = |bytes: &[u8]| store.stage("targets", &mut &bytes[..], 1 << 20).unwrap();
    let again = vec![NewFile::staged(names.clone(), stage(&bytes)), NewFile::staged(names.clone(), stage(b"other"))];
    assert_eq!(store.create_all(again).unwrap(), [Created::Same, Created::Conflict]);
    // The worst of several names.
    let half = vec![name("targets/fresh"), names[0].clone()];
    assert_eq!(store.create_all(vec![NewFile::staged(half, stage(&bytes))]).unwrap(), [Created::New]);
    let many: Vec<NewFile<'_>> =
        (0..40).map(|i| NewFile::staged(vec![name(&format!("targets/m/{i}"))], stage(&[i]))).collect();
    assert_eq!(store.create_all(many).unwrap(), [Created::New; 40]);
    assert_eq!(read(store, "targets/m/39").unwrap(), [39]);

    drop(stage(b"dropped"));
    assert_eq!(store.list("targets").unwrap(), ["fresh"]);
    assert_eq!(store.remove_stale("targets", i64::MAX).unwrap(), 0, "no temporary file remains");
}

fn streams_that_fail_leave_nothing(store: &dyn Store) {
    let long = store.stage("", &mut io::repeat(7), 1000).unwrap_err();
    assert!(matches!(long, StoreError::TooLarge { max: 1000, .. }), "{long:?}");
    assert_eq!(store.stage("", &mut io::repeat(7).take(1000), 1000).unwrap().length(), 1000);

    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the producer went away"))
        }
    }
    let failed = store.stage("", &mut (&b"start"[..]).chain(Failing), 1000).unwrap_err();
    assert!(matches!(failed, StoreError::Source { .. }), "{failed:?}");
    assert_eq!(store.remove_stale("", i64::MAX).unwrap(), 0, "no temporary file remains");
}

fn replaced_files_get_newer_times(store: &dyn Store) {
    let file = name("metadata/timestamp.json");
    let mtime = || store.stat(&file).unwrap().unwrap().mtime;
    store.replace(&file, b"1", ReplaceOptions::default()).unwrap();
    let first = mtime();
    store.replace(&file, b"22", ReplaceOptions::default()).unwrap();
    assert_eq!(store.read(&file, 10).unwrap().unwrap(), b"22");
    assert!(mtime() > first);
    let after = mtime() + 1000;
    store.replace(&file, b"3", ReplaceOptions { mtime_after: Some(after) }).unwrap();
    assert_eq!(mtime(), after + 1);
    store.replace(&file, b"3", ReplaceOptions { mtime_after: Some(5) }).unwrap();
    assert_eq!(mtime(), after + 2);
    assert_eq!(store.list("metadata").unwrap(), ["timestamp.json"]);
}

fn copies_are_files_of_their_own(store: &dyn Store) {
    create(store, "metadata/7.snapshot.json", b"seven");
    create(store, "metadata/8.snapshot.json", b"eight");
    let copy = |version: &str, expected| CopyFile {
        from: name(&format!("metadata/{version}.snapshot.json")),
        to: name("metadata/snapshot.json"),
        expected,
        options: ReplaceOptions::default(),
    };
    let seven = FileDigest { length: 5, sha256: sha256(b"seven") };
    assert_eq!(store.copy_all(&[copy("7", Some(seven))]).unwrap(), [seven]);
    assert_eq!(read(store, "metadata/snapshot.json").unwrap(), b"seven");
    let first = store.stat(&name("metadata/snapshot.json")).unwrap().unwrap().mtime;
    store.copy_all(&[copy("8", None)]).unwrap();
    assert_eq!(read(store, "metadata/snapshot.json").unwrap(), b"eight");
    assert!(store.stat(&name("metadata/snapshot.json")).unwrap().unwrap().mtime > first);
    assert_eq!(read(store, "metadata/7.snapshot.json").unwrap(), b"seven");
    // Replacing the copy leaves the original alone.
    store.replace(&name("metadata/snapshot.json"), b"nine", ReplaceOptions::default()).unwrap();
    assert_eq!(read(store, "metadata/8.snapshot.json").unwrap(), b"eight");
}

fn copies_of_wrong_bytes_replace_nothing(store: &dyn Store) {
    create(store, "good", b"good");
    create(store, "bad", b"bad!");
    create(store, "to", b"old");
    let copy = |from: &str, expected: &[u8]| CopyFile {
        from: name(from),
        to: name("to"),
        expected: Some(FileDigest { length: expected.len() as u64, sha256: sha256(expected) }),
        options: ReplaceOptions::default(),
    };
    for wrong in [copy("bad", b"good"), copy("bad", b"ba"), copy("bad", b"bad! and more")] {
        let error = store.copy_all(&[copy("good", b"good"), wrong]).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error:?}");
    }
    let error = store.copy_all(&[copy("good", b"good"), copy("missing", b"")]).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert_eq!(read(store, "to").unwrap(), b"old");
    assert_eq!(store.list("").unwrap(), ["bad", "good", "to"]);
}

fn many_copies_are_made_together(store: &dyn Store) {
    let copies: Vec<CopyFile> = (0..30)
        .map(|i| {
            create(store, &format!("targets/H{i}.f"), &[i]);
            CopyFile {
                from: name(&format!("targets/H{i}.f")),
                to: name(&format!("targets/sub{}/f{i}", i % 6)),
                expected: None,
                options: ReplaceOptions::default(),
            }
        })
        .collect();
    assert_eq!(store.copy_all(&copies).unwrap().len(), 30);
    assert_eq!(read(store, "targets/sub5/f29").unwrap(), [29]);
    assert_eq!(store.copy_all(&[]).unwrap(), []);
}

fn lists_show_one_directory(store: &dyn Store) {
    for file in ["metadata/10.root.json", "metadata/2.root.json", "metadata/.2.timestamp.json", "metadata/bin/x", "top"]
    {
        create(store, file, b"x");
    }
    let _staged = store.stage("metadata", &mut &b"temporary"[..], 100).unwrap();
    assert_eq!(store.list("metadata").unwrap(), [".2.timestamp.json", "10.root.json", "2.root.json"]);
    assert_eq!(store.list_dirs("metadata").unwrap(), ["bin"]);
    assert_eq!(store.list("").unwrap(), ["top"]);
    assert_eq!(store.list_dirs("").unwrap(), ["metadata"]);
    assert_eq!(store.list("meta").unwrap(), [""; 0]);
    assert_eq!(store.list_dirs("none/at/all").unwrap(), [""; 0]);
}

fn removing_what_is_gone_succeeds(store: &dyn Store) {
    create(store, "d/a", b"a");
    create(store, "d/b", b"b");
    let names = [name("d/a"), name("d/none"), name("none/none")];
    store.remove(&names).unwrap();
    store.remove(&names).unwrap();
    assert_eq!(store.list("d").unwrap(), ["b"]);
    assert_eq!(create(store, "d/a", b"new"), Created::New);
}

fn what_is_older_is_removed(store: &dyn Store) {
    create(store, "dir/deep/one", b"one");
    create(store, "dir/two", b"two");
    let names = ["dir/deep/one", "dir/two", "missing"].map(name);
    let mtime = store.stat(&names[0]).unwrap().unwrap().mtime;
    assert_eq!(store.remove_older(&names, mtime).unwrap(), 0, "not older");
    assert_eq!(store.list("dir").unwrap(), ["two"]);
    assert_eq!(store.remove_older(&names[..1], mtime + 10).unwrap(), 1);
    assert_eq!(store.list_dirs("dir").unwrap(), [""; 0], "an empty directory goes");
    assert_eq!(create(store, "dir/deep/one", b"other"), Created::New, "and comes back");
    assert_eq!(store.remove_older(&names, mtime + 10).unwrap(), 2);
    assert_eq!(store.list_dirs("").unwrap(), [""; 0]);
}

fn reads_are_bounded(store: &dyn Store) {
    create(store, "f", b"12345");
    assert_eq!(store.read(&name("f"), 5).unwrap().unwrap(), b"12345");
    for error in [store.read(&name("f"), 4).unwrap_err(), store.digest(&name("f"), 4).unwrap_err()] {
        assert!(matches!(error, StoreError::TooLarge { max: 4, .. }), "{error:?}");
    }
    assert_eq!(store.digest(&name("none"), 4).unwrap(), None);
}

fn bad_directories_are_refused(store: &dyn Store) {
    for dir in ["..", "/etc", "a//b", "a/"] {
        assert!(matches!(store.list(dir), Err(StoreError::Name(_))), "{dir}");
        assert!(matches!(store.list_dirs(dir), Err(StoreError::Name(_))), "{dir}");
        assert!(matches!(store.stage(dir, &mut io::empty(), 1), Err(StoreError::Name(_))), "{dir}");
        assert!(matches!(store.remove_stale(dir, 0), Err(StoreError::Name(_))), "{dir}");
    }
}

/// Longer than any test holds a lock.
const LOCK_WAIT: Duration = Duration::from_secs(600);

fn locks_exclude_each_other(store: &dyn Store) {
    let file = name("metadata/.lock");
    let held = store.lock(&file, LOCK_WAIT).unwrap();
    let _other = store.lock(&name("metadata/.other"), LOCK_WAIT).unwrap();
    assert!(store.lock(&file, Duration::ZERO).is_err(), "a lock is never waited for without end");
    let released = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let _held = store.lock(&file, LOCK_WAIT).unwrap();
            released.load(Ordering::SeqCst)
        });
        released.store(true, Ordering::SeqCst);
        drop(held);
        assert!(waiter.join().unwrap(), "two held the lock at the same time");
    });
}

fn racing_creators_have_one_winner(store: &dyn Store) {
    let barrier = std::sync::Barrier::new(4);
    let results: Vec<Created> = std::thread::scope(|scope| {
        let race = |i: u8| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                store.create(&name("log/17"), &[i]).unwrap()
            })
        };
        let running: Vec<_> = (0..4).map(race).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<usize> = (0..4).filter(|i| results[*i] == Created::New).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == Created::Conflict).count(), 3);
    assert_eq!(read(store, "log/17").unwrap(), [winners[0] as u8]);
}
