//! The store in a directory: on the real and the simulated file system, through crashes, repeats and faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use durable_fs::durable::is_temp_name;
use durable_fs::{Fs, RealFs};
use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::store::{
    CopyFile, Created, FileName, LocalStore, MemoryStore, NewFile, ReplaceOptions, Store, StoreError, conformance,
};

fn name(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

fn store_on(fs: &SimFs) -> LocalStore {
    LocalStore::new(Arc::new(fs.clone()), PathBuf::from("/repo"))
}

fn empty() -> SimFs {
    let fs = SimFs::new();
    fs.plant_dir("/repo");
    fs
}

#[test]
fn a_store_on_the_operating_system_passes_the_conformance_suite() {
    let dirs = Mutex::new(Vec::new());
    conformance::check(&|| {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(Arc::new(RealFs), dir.path().join("a/repo"));
        store.make_root().unwrap();
        dirs.lock().unwrap().push(dir);
        Box::new(store)
    });
}

#[test]
fn a_store_on_the_simulation_passes_the_conformance_suite() {
    conformance::check(&|| Box::new(store_on(&empty())));
}

#[test]
fn a_store_in_memory_passes_the_conformance_suite() {
    conformance::check(&|| Box::new(MemoryStore::new()));
}

/// Six files, two of them staged, one of these under two names: every name with its expected bytes.
fn six_files(store: &dyn Store) -> Result<Vec<Created>, StoreError> {
    let one = store.stage("targets", &mut &b"staged one"[..], 100)?;
    let two = store.stage("targets", &mut &b"staged two"[..], 100)?;
    store.create_all(vec![
        NewFile::staged(vec![name("targets/d/HASH.one"), name("targets/d/HASH.d/one")], one),
        NewFile::staged(vec![name("targets/HASH.two")], two),
        NewFile::bytes(name("metadata/3.bin_0-7.json"), &b"bin 0"[..]),
        NewFile::bytes(name("metadata/3.bin_8-f.json"), &b"bin 8"[..]),
        NewFile::bytes(name("metadata/9.targets.json"), &b"nine"[..]),
        NewFile::bytes(name("log/5.json"), &b"record"[..]),
    ])
}

fn names_of_six() -> BTreeMap<PathBuf, Vec<u8>> {
    [
        ("targets/d/HASH.one", "staged one"),
        ("targets/d/HASH.d/one", "staged one"),
        ("targets/HASH.two", "staged two"),
        ("metadata/3.bin_0-7.json", "bin 0"),
        ("metadata/3.bin_8-f.json", "bin 8"),
        ("metadata/9.targets.json", "nine"),
        ("log/5.json", "record"),
    ]
    .map(|(name, bytes)| (Path::new("/repo").join(name), bytes.as_bytes().to_vec()))
    .into()
}

/// Files that are not temporary.
fn named(fs: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    fs.files().into_iter().filter(|(path, _)| !is_temp_name(path.file_name().unwrap())).collect()
}

fn modes() -> impl Iterator<Item = CrashMode> {
    let fixed = [CrashMode::DropUnsynced, CrashMode::KeepNames, CrashMode::KeepAll];
    fixed.into_iter().chain((0..12).map(CrashMode::Mixed))
}

/// Stops `work` before and after each of its operations and restarts in each way. Passes the remaining state to the check, and
/// whether `work` had reported success. Returns the number of cuts.
fn at_every_cut(base: &SimFs, work: &dyn Fn(&LocalStore) -> bool, check: &dyn Fn(&SimFs, bool, &str)) -> usize {
    let clean = base.fork();
    assert!(work(&store_on(&clean)));
    let operations = clean.operations();
    assert!(operations > 3);
    let mut cuts = 0;
    for n in 0..=operations {
        for before in [true, false] {
            for mode in modes() {
                let fs = base.fork();
                if before {
                    fs.stop_at(n)
                } else {
                    fs.stop_after(n)
                }
                let done = work(&store_on(&fs));
                fs.stop();
                fs.crash(mode);
                let at = clean.log().get(n).cloned().unwrap_or_else(|| "the end".into());
                check(&fs, done, &format!("stopped {} {n} ({at}), {mode:?}", if before { "before" } else { "after" }));
                cuts += 1;
            }
        }
    }
    cuts
}

#[test]
fn a_batch_that_was_created_survives_and_one_that_was_cut_leaves_whole_files() {
    let expected = names_of_six();
    let cuts = at_every_cut(&empty(), &|store| six_files(store).is_ok(), &|fs, done, at| {
        let left = named(fs);
        for (path, bytes) in &left {
            assert_eq!(expected.get(path), Some(bytes), "{} is torn: {at}", path.display());
        }
        if done {
            assert_eq!(left.len(), expected.len(), "a file is gone: {at}");
        }
        // Whatever is left, the same work completes it.
        let store = store_on(fs);
        assert!(!six_files(&store).unwrap().contains(&Created::Conflict), "{at}");
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(named(fs), expected, "the second try is not durable: {at}");
    });
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_small_batch_survives_too() {
    let work = |store: &LocalStore| {
        let staged = store.stage("t", &mut &b"staged"[..], 100);
        staged.and_then(|staged| {
            store.create_all(vec![
                NewFile::staged(vec![name("t/a"), name("t/b/a")], staged),
                NewFile::bytes(name("m/x"), &b"x"[..]),
            ])
        })
    };
    at_every_cut(&empty(), &|store| work(store).is_ok(), &|fs, done, at| {
        for (path, bytes) in named(fs) {
            let expected: &[u8] = if path.ends_with("x") { b"x" } else { b"staged" };
            assert_eq!(bytes, expected, "{at}");
        }
        assert!(!done || named(fs).len() == 3, "{at}");
        assert!(!work(&store_on(fs)).unwrap().contains(&Created::Conflict), "{at}");
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(named(fs).len(), 3, "{at}");
    });
}

#[test]
fn a_replaced_file_holds_the_old_bytes_or_the_new_ones() {
    let base = empty();
    base.plant("/repo/metadata/timestamp.json", "old");
    let file = name("metadata/timestamp.json");
    let work = |store: &LocalStore| store.replace(&file, b"the new ones", ReplaceOptions::default()).is_ok();
    at_every_cut(&base, &work, &|fs, done, at| {
        let left = fs.contents("/repo/metadata/timestamp.json").expect("it is never gone");
        assert!(left == b"the new ones" || (left == b"old" && !done), "{left:?}: {at}");
        let mtime = store_on(fs).stat(&file).unwrap().unwrap().mtime;
        assert_eq!(mtime > fs.time(), left != b"old", "{at}");
    });
}

#[test]
fn copies_are_durable_before_the_first_name_moves() {
    let base = empty();
    let files: Vec<String> = (0..6).map(|i| format!("f{i}")).collect();
    for file in &files {
        base.plant(format!("/repo/targets/{file}"), "old");
        base.plant(format!("/repo/targets/HASH.{file}"), format!("new {file}"));
    }
    let copies: Vec<CopyFile> = files
        .iter()
        .map(|file| CopyFile {
            from: name(&format!("targets/HASH.{file}")),
            to: name(&format!("targets/{file}")),
            expected: None,
            options: ReplaceOptions::default(),
        })
        .collect();
    at_every_cut(&base, &|store| store.copy_all(&copies).is_ok(), &|fs, done, at| {
        for file in &files {
            let left = fs.contents(format!("/repo/targets/{file}")).expect("it is never gone");
            assert!(left == format!("new {file}").as_bytes() || (left == b"old" && !done), "{file}: {at}");
        }
    });
}

#[test]
fn a_removal_that_returned_is_durable() {
    let base = empty();
    base.plant("/repo/a/x", "x");
    base.plant("/repo/a/y", "y");
    let work = |store: &LocalStore| store.remove(&[name("a/x"), name("a/y"), name("b/z")]).is_ok();
    at_every_cut(&base, &work, &|fs, done, at| assert!(!done || named(fs).is_empty(), "{at}"));
}

#[test]
fn operations_whose_reply_was_lost_and_repeated_succeed() {
    let work = |store: &LocalStore| {
        assert!(six_files(store).unwrap().iter().all(|created| *created == Created::New));
        store.replace(&name("metadata/timestamp.json"), b"1", ReplaceOptions::default()).unwrap();
        store.remove(&[name("log/5.json")]).unwrap();
    };
    let clean = empty();
    work(&store_on(&clean));
    for n in 0..clean.operations() {
        let fs = empty();
        fs.repeat_at(n);
        work(&store_on(&fs));
        assert_eq!(fs.files(), clean.files(), "{}", clean.log()[n]);
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(fs.files(), clean.files(), "not durable: {}", clean.log()[n]);
    }
}

#[test]
fn a_fault_in_any_operation_is_reported_by_its_kind_and_can_be_repeated() {
    let clean = empty();
    six_files(&store_on(&clean)).unwrap();
    for n in 0..clean.operations() {
        let operation = &clean.log()[n];
        for kind in [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::StaleNetworkFileHandle] {
            let fs = empty();
            let store = store_on(&fs);
            fs.fail_at(n, kind);
            match six_files(&store) {
                // A temporary name left over is no failure, a parent that cannot be synced may be another's, and a
                // stale handle is looked up again.
                Ok(_) => assert!(
                    operation.starts_with("unlink")
                        || kind == ErrorKind::StaleNetworkFileHandle
                        || (kind == ErrorKind::PermissionDenied && operation.starts_with("sync_dir")),
                    "{operation}: {kind:?}"
                ),
                Err(StoreError::NoSpace { .. }) => assert_eq!(kind, ErrorKind::StorageFull),
                Err(StoreError::Permission { .. }) => assert_eq!(kind, ErrorKind::PermissionDenied),
                Err(other) => assert_eq!(kind, ErrorKind::StaleNetworkFileHandle, "{operation}: {other:?}"),
            }
            assert!(!six_files(&store).unwrap().contains(&Created::Conflict), "{operation}");
            assert_eq!(named(&fs), names_of_six());
        }
    }
}

#[test]
fn a_full_disk_leaves_no_temporary_files() {
    let fs = empty();
    fs.set_capacity(30);
    let error = six_files(&store_on(&fs)).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    assert_eq!(fs.files(), BTreeMap::new());
}

#[test]
fn a_batch_of_ten_thousand_costs_two_syncs() {
    let fs = empty();
    let store = store_on(&fs);
    let files = (0..10_000).map(|i| NewFile::bytes(name(&format!("metadata/2.bin_{i:05}.json")), vec![7; 100]));
    store.create_all(files.collect()).unwrap();
    let log = fs.log();
    // create, write, link, unlink for each.
    assert!(log.len() <= 40_010, "{}", log.len());
    assert!(log.iter().filter(|operation| operation.starts_with("sync")).count() <= 4);
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.files().len(), 10_000);
}

#[test]
fn a_directory_removed_behind_the_stores_back_is_made_again() {
    let fs = empty();
    let store = store_on(&fs);
    store.create(&name("a/b/x"), b"x").unwrap();
    durable_fs::durable::remove_tree(&fs, Path::new("/repo/a")).unwrap();
    assert_eq!(store.create(&name("a/b/x"), b"x").unwrap(), Created::New);
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/repo/a/b/x").unwrap(), b"x");
}

#[test]
fn a_missing_root_is_neither_filled_nor_taken_for_empty() {
    let store = store_on(&SimFs::new());
    let is_missing = |error: StoreError| assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    is_missing(store.create(&name("a"), b"x").unwrap_err());
    is_missing(store.create(&name("metadata/a"), b"x").unwrap_err());
    is_missing(store.replace(&name("metadata/a"), b"x", ReplaceOptions::default()).unwrap_err());
    is_missing(store.read(&name("a"), 1).unwrap_err());
    is_missing(store.stat(&name("a")).unwrap_err());
    is_missing(store.list("").unwrap_err());
    is_missing(store.list("metadata").unwrap_err());
    is_missing(store.remove(&[name("a")]).unwrap_err());
    is_missing(store.stage("targets", &mut &b"x"[..], 1).unwrap_err());
    store.make_root().unwrap();
    assert_eq!(store.read(&name("a"), 1).unwrap(), None);
}

#[test]
fn names_taken_by_something_else_conflict() {
    let fs = empty();
    fs.plant_dir("/repo/a");
    fs.plant_symlink("/repo/b", "/etc/passwd");
    fs.plant_fifo("/repo/c");
    let store = store_on(&fs);
    for file in ["a", "b", "c"] {
        assert_eq!(store.create(&name(file), b"x").unwrap(), Created::Conflict);
        assert_eq!(store.stat(&name(file)).unwrap(), None);
        assert!(store.read(&name(file), 10).is_err());
    }
    assert_eq!(store.list("").unwrap(), [""; 0]);
    fs.plant("/repo/file", "x");
    let below = store.create(&name("file/below"), b"x").unwrap_err();
    assert!(matches!(&below, StoreError::Io { source, .. } if source.kind() == ErrorKind::NotADirectory), "{below:?}");
}

#[test]
fn a_staged_file_of_another_store_is_refused() {
    let (here, there) = (store_on(&empty()), MemoryStore::new());
    let foreign = there.stage("", &mut &b"x"[..], 10).unwrap();
    assert!(here.create_all(vec![NewFile::staged(vec![name("x")], foreign)]).is_err());
    let foreign = here.stage("", &mut &b"x"[..], 10).unwrap();
    assert!(there.create_all(vec![NewFile::staged(vec![name("x")], foreign)]).is_err());
}

#[test]
fn temporary_files_of_killed_processes_are_collected_by_age() {
    let fs = empty();
    fs.plant("/repo/targets/.tmp-1-2-3", "old");
    fs.set_time(fs.time() + 100);
    let store = store_on(&fs);
    let staged = store.stage("targets", &mut &b"young"[..], 10).unwrap();
    assert_eq!(store.remove_stale("targets", fs.time()).unwrap(), 1);
    assert_eq!(store.remove_stale("none", fs.time()).unwrap(), 0);
    assert_eq!(store.create_all(vec![NewFile::staged(vec![name("targets/x")], staged)]).unwrap(), [Created::New]);
}

#[test]
fn the_names_of_a_staged_file_are_links_to_one_inode_with_the_stores_mode() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::new(Arc::new(RealFs), dir.path().to_path_buf()).with_modes(0o640, 0o750);
    let staged = store.stage("targets", &mut &b"x"[..], 10).unwrap();
    store.create_all(vec![NewFile::staged(vec![name("targets/H.x"), name("targets/H.d/x")], staged)]).unwrap();
    let stat = |file: &str| RealFs.stat(&dir.path().join(file)).unwrap();
    assert_eq!(stat("targets/H.x").id, stat("targets/H.d/x").id);
    assert_eq!((stat("targets/H.x").nlink, stat("targets/H.x").mode), (2, 0o640));
    assert_eq!(stat("targets/H.d").mode & 0o777, 0o750);
    let left = RealFs.read_dir(&dir.path().join("targets")).unwrap();
    assert_eq!(left.len(), 2, "no temporary name is left");
}
