//! The durable sequences: through crashes, lost replies, races and on the operating system.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durable_fs::durable::{self, CreateOutcome, TempFile};
use durable_fs::{Fs, RealFs};
use testkit::sim_fs::{CrashMode, SimFs};

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn modes() -> impl Iterator<Item = CrashMode> {
    let fixed = [CrashMode::DropUnsynced, CrashMode::KeepNames, CrashMode::KeepAll];
    fixed.into_iter().chain((0..10).map(CrashMode::Mixed))
}

/// Stops `work` before and after each operation and restarts in each way.
fn at_every_cut(base: &SimFs, work: &dyn Fn(&SimFs) -> bool, check: &dyn Fn(&SimFs, bool, &str)) {
    let clean = base.fork();
    assert!(work(&clean));
    for n in 0..=clean.operations() {
        for after in [false, true] {
            for mode in modes() {
                let fs = base.fork();
                if after {
                    fs.stop_after(n)
                } else {
                    fs.stop_at(n)
                }
                let done = work(&fs);
                fs.crash(mode);
                let operation = clean.log().get(n).cloned().unwrap_or_default();
                check(&fs, done, &format!("{n} {operation} after {after}, {mode:?}"));
            }
        }
    }
}

#[test]
fn creating_reports_an_existing_file() {
    let fs = SimFs::new();
    assert!(durable::create(&fs, p("/f"), b"x", 0o644).unwrap());
    assert!(!durable::create(&fs, p("/f"), b"x", 0o644).unwrap());
    let other = durable::create(&fs, p("/f"), b"y", 0o644).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    assert!(other.to_string().contains("/f"), "{other}");
    fs.plant_dir("/d");
    assert_eq!(durable::create(&fs, p("/d"), b"x", 0o644).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(durable::create(&fs, p("/none/f"), b"x", 0o644).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs.paths(), ["/d/", "/f"]);
}

#[test]
fn a_created_file_is_whole_or_absent_at_every_cut_and_there_when_it_was_said() {
    let base = SimFs::new();
    base.plant_dir("/d");
    at_every_cut(&base, &|fs| durable::create(fs, p("/d/f"), b"whole", 0o644).is_ok(), &|fs, done, at| {
        match fs.contents("/d/f") {
            Some(bytes) => assert_eq!(bytes, b"whole", "{at}"),
            None => assert!(!done, "{at}"),
        }
        durable::create(fs, p("/d/f"), b"whole", 0o644).unwrap();
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(fs.contents("/d/f").unwrap(), b"whole", "{at}");
    });
}

#[test]
fn a_replaced_file_is_old_or_new_at_every_cut() {
    let base = SimFs::new();
    base.plant("/d/f", "old");
    at_every_cut(&base, &|fs| durable::replace(fs, p("/d/f"), b"new", 0o644).is_ok(), &|fs, done, at| {
        let left = fs.contents("/d/f").unwrap();
        assert!(left == b"new" || (left == b"old" && !done), "{left:?} {at}");
    });
}

#[test]
fn directories_made_are_durable_whoever_made_them_first() {
    let base = SimFs::new();
    let work = |fs: &SimFs| durable::create_dir_all(fs, p("/a/b/c"), 0o755).is_ok();
    at_every_cut(&base, &work, &|fs, done, at| {
        assert!(!done || fs.stat(p("/a/b/c")).is_ok(), "{at}");
        assert!(work(fs), "{at}");
        fs.crash(CrashMode::DropUnsynced);
        assert!(fs.stat(p("/a/b/c")).is_ok(), "made by a killed process, found by the next: {at}");
    });
    let fs = SimFs::new();
    fs.plant("/f", "");
    fs.plant_dir("/real");
    fs.plant_symlink("/link", "real");
    assert_eq!(durable::create_dir_all(&fs, p("/f"), 0o755).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(durable::create_dir_all(&fs, p("/f/g"), 0o755).unwrap_err().kind(), ErrorKind::NotADirectory);
    durable::create_dir_all(&fs, p("/link/sub"), 0o755).unwrap();
    durable::create_dir_all(&fs, p("/link"), 0o755).unwrap();
    durable::create_dir_all(&fs, p("/"), 0o755).unwrap();
    assert!(fs.stat(p("/real/sub")).is_ok());
    // A parent that this process may not read belongs to another user, who syncs it.
    fs.plant_dir("/theirs/mount");
    let parent_sync = fs.operations();
    fs.fail_at(parent_sync, ErrorKind::PermissionDenied);
    durable::create_dir_all(&fs, p("/theirs/mount"), 0o755).unwrap();
    assert_eq!(fs.log()[parent_sync], "sync_dir /theirs");
}

#[test]
fn many_files_are_created_with_few_syncs() {
    for count in [1_usize, 4, 5, 300] {
        let fs = SimFs::new();
        fs.plant("/d/sub/taken", "other");
        fs.plant("/d/same", "same");
        let names: Vec<String> = (0..count).map(|i| format!("dir{}/f{i}", i % 3)).collect();
        let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        files.extend([("sub/taken", &b"mine"[..]), ("same", b"same")]);
        let outcomes = durable::create_many(&fs, p("/d"), &files, 0o640).unwrap();
        assert!(outcomes[..count].iter().all(|outcome| *outcome == CreateOutcome::Created));
        assert_eq!(outcomes[count..], [CreateOutcome::Conflict, CreateOutcome::SameBytes]);
        assert_eq!(fs.stat(p("/d/dir0")).unwrap().mode, 0o750);
        let syncs = fs.log().iter().filter(|operation| operation.starts_with("sync")).count();
        assert!(syncs < 16, "{syncs} for {count}");
        fs.crash(CrashMode::DropUnsynced);
        for name in &names {
            assert_eq!(fs.contents(p("/d").join(name)).unwrap(), name.as_bytes());
        }
        assert_eq!(fs.contents("/d/sub/taken").unwrap(), b"other");
        assert_eq!(fs.files().len(), count + 2, "no temporary name is left");
    }
}

#[test]
fn a_lost_reply_is_found_out_by_looking_again() {
    let once = |run: &dyn Fn(&SimFs)| {
        let fs = SimFs::new();
        fs.plant("/f", "f");
        fs.plant("/d/x", "x");
        fs.plant_dir("/empty");
        fs.repeat_at(0);
        run(&fs);
        fs.paths().join(" ")
    };
    assert_eq!(once(&|fs| assert!(durable::link_new(fs, p("/f"), p("/g")).unwrap())), "/d/ /d/x /empty/ /f /g");
    assert_eq!(once(&|fs| durable::rename_over(fs, p("/f"), p("/g")).unwrap()), "/d/ /d/x /empty/ /g");
    assert_eq!(once(&|fs| assert!(durable::rename_dir(fs, p("/d"), p("/e")).unwrap())), "/e/ /e/x /empty/ /f");
    assert_eq!(once(&|fs| assert!(!durable::make_dir(fs, p("/n"), 0o755).unwrap())), "/d/ /d/x /empty/ /f /n/");
    assert_eq!(once(&|fs| assert!(!durable::remove_file_if_there(fs, p("/f")).unwrap())), "/d/ /d/x /empty/");
    assert_eq!(once(&|fs| assert!(!durable::remove_dir_if_there(fs, p("/empty")).unwrap())), "/d/ /d/x /f");
    assert_eq!(once(&|fs| assert!(durable::create(fs, p("/n"), b"n", 0o644).unwrap())), "/d/ /d/x /empty/ /f /n");
}

#[test]
fn a_failure_that_only_resembles_a_lost_reply_stays_a_failure() {
    let fs = SimFs::new();
    fs.plant("/f", "f");
    fs.plant("/g", "f");
    fs.plant("/d/x", "x");
    fs.plant("/e/y", "y");
    fs.plant("/file", "");
    assert!(!durable::link_new(&fs, p("/f"), p("/g")).unwrap());
    assert_eq!(durable::link_new(&fs, p("/none"), p("/h")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!durable::rename_dir(&fs, p("/d"), p("/e")).unwrap());
    assert!(!durable::rename_dir(&fs, p("/d"), p("/file")).unwrap());
    assert_eq!(durable::rename_dir(&fs, p("/none"), p("/e")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(durable::rename_over(&fs, p("/none"), p("/f")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!durable::make_dir(&fs, p("/d"), 0o755).unwrap());
    assert_eq!(durable::make_dir(&fs, p("/file"), 0o755).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(durable::make_dir(&fs, p("/no/d"), 0o755).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!durable::remove_file_if_there(&fs, p("/none")).unwrap());
    assert!(durable::remove_dir_if_there(&fs, p("/d")).is_err());
    assert_eq!((fs.contents("/d/x"), fs.contents("/e/y")), (Some(b"x".to_vec()), Some(b"y".to_vec())));
}

#[test]
fn renaming_one_name_of_a_file_over_another_leaves_one() {
    let fs = SimFs::new();
    fs.plant("/a", "x");
    fs.link(p("/a"), p("/b")).unwrap();
    durable::rename_over(&fs, p("/a"), p("/b")).unwrap();
    assert_eq!(fs.paths(), ["/b"]);
}

#[test]
fn a_stale_handle_is_looked_up_again_twice() {
    for (faults, ends) in [(1, true), (2, true), (3, false)] {
        let fs = SimFs::new();
        fs.plant("/f", "f");
        (0..faults).for_each(|n| fs.fail_at(n, ErrorKind::StaleNetworkFileHandle));
        assert_eq!(durable::link_new(&fs, p("/f"), p("/g")).is_ok(), ends);
    }
}

#[test]
fn a_tree_is_removed_without_following_links() {
    let fs = SimFs::new();
    fs.plant("/t/a/b/c", "x");
    fs.plant_fifo("/t/fifo");
    fs.plant("/outside/keep", "x");
    fs.plant_symlink("/t/a/link", "/outside");
    durable::remove_tree(&fs, p("/t")).unwrap();
    assert_eq!(fs.paths(), ["/outside/", "/outside/keep"]);
    durable::remove_tree(&fs, p("/t")).unwrap();
    fs.plant_symlink("/t", "/outside");
    assert!(durable::remove_tree(&fs, p("/t")).is_err());
    assert!(fs.contents("/outside/keep").is_some());
}

#[test]
fn one_file_that_cannot_be_removed_does_not_keep_the_others() {
    let fs = SimFs::new();
    for file in ["/t/a", "/t/b/x", "/t/c"] {
        fs.plant(file, "");
    }
    fs.fail_path("/t/b/x", ErrorKind::PermissionDenied);
    let error = durable::remove_tree(&fs, p("/t")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("/t/b/x"), "{error}");
    assert_eq!(fs.paths(), ["/t/", "/t/b/", "/t/b/x"]);
}

#[test]
fn a_directory_with_many_names_is_removed_without_all_of_them_in_memory() {
    let fs = SimFs::new();
    for n in 0..5_000 {
        fs.plant(format!("/t/f{n:04}"), "");
    }
    // A network mount may leave a name out of a list.
    assert!(fs.hide("/t/f2500", 1));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    fs.set_second_actor(move |fs, _| {
        seen.fetch_max(fs.entries_read().saturating_sub(fs.operations()), Ordering::SeqCst);
    });
    durable::remove_tree(&fs, p("/t")).unwrap();
    assert_eq!(fs.paths(), [""; 0]);
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 1024, "{most} names were read and not removed");
}

#[test]
fn of_many_names_one_that_cannot_be_removed_does_not_keep_the_others() {
    let fs = SimFs::new();
    for n in 0..3_000 {
        fs.plant(format!("/t/f{n:04}"), "");
    }
    fs.fail_path("/t/f0007", ErrorKind::PermissionDenied);
    assert_eq!(durable::remove_tree(&fs, p("/t")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(fs.paths(), ["/t/", "/t/f0007"]);
}

#[test]
fn reading_is_bounded() {
    let fs = SimFs::new();
    fs.plant("/f", "12345");
    assert_eq!(durable::read_bounded(&fs, p("/f"), 5).unwrap(), b"12345");
    assert_eq!(durable::read_bounded(&fs, p("/f"), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(durable::read_bounded(&fs, p("/none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_temporary_file_goes_when_it_is_not_persisted() {
    let fs = SimFs::new();
    fs.plant("/d/taken", "taken");
    let temp = || {
        let mut temp = TempFile::new(&fs, p("/d"), 0o600).unwrap();
        temp.write_all(b"x").unwrap();
        temp.sync().unwrap();
        temp
    };
    drop(temp());
    assert!(!temp().persist_new(p("/d/taken")).unwrap());
    assert!(temp().persist_over(p("/none/f")).is_err());
    assert_eq!(fs.paths(), ["/d/", "/d/taken"]);
    assert!(temp().persist_new(p("/d/new")).unwrap());
    temp().persist_over(p("/d/taken")).unwrap();
    assert_eq!(fs.paths(), ["/d/", "/d/new", "/d/taken"]);
    assert_eq!(fs.contents("/d/taken").unwrap(), b"x");
}

#[test]
fn the_operating_system_runs_the_same_sequences() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let fs = RealFs;
    durable::create_dir_all(&fs, &at("a/b"), 0o755).unwrap();
    assert!(durable::create(&fs, &at("a/b/f"), b"x", 0o644).unwrap());
    assert!(!durable::create(&fs, &at("a/b/f"), b"x", 0o644).unwrap());
    durable::replace(&fs, &at("a/b/f"), b"y", 0o644).unwrap();
    assert_eq!(durable::read_bounded(&fs, &at("a/b/f"), 10).unwrap(), b"y");
    let files: Vec<(String, Vec<u8>)> = (0..200).map(|i| (format!("s{}/f{i}", i % 9), vec![i as u8; 10])).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    assert!(durable::create_many(&fs, &at("a"), &files, 0o644).unwrap().iter().all(|o| *o == CreateOutcome::Created));
    assert!(durable::create_many(&fs, &at("a"), &files, 0o644).unwrap().iter().all(|o| *o == CreateOutcome::SameBytes));
    assert!(durable::rename_dir(&fs, &at("a"), &at("z")).unwrap());
    assert_eq!(fs.read_dir(&at("z/s8")).unwrap().len(), 22);
    durable::remove_tree(&fs, &at("z")).unwrap();
    assert_eq!(fs.read_dir(dir.path()).unwrap(), []);
}
