//! The simulated file system loses, keeps and repeats the right operations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use durable_fs::{Fs, WriteFile};
use testkit::sim_fs::{CrashMode, SimFs, is_power_cut};

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn write(fs: &SimFs, path: &str, bytes: &[u8]) -> Box<dyn WriteFile> {
    let mut file = fs.create_new(p(path), 0o644).unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_file_survives_when_its_bytes_and_its_name_are_synced() {
    for (data, name, left) in
        [(false, false, None), (true, false, None), (false, true, Some(&b""[..])), (true, true, Some(&b"x"[..]))]
    {
        let fs = SimFs::new();
        fs.plant_dir("/d");
        let mut file = write(&fs, "/d/f", b"x");
        if data {
            file.sync().unwrap();
        }
        if name {
            fs.sync_dir(p("/d")).unwrap();
        }
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(fs.contents("/d/f").as_deref(), left, "data {data}, name {name}");
    }
}

#[test]
fn bytes_written_after_the_sync_are_lost() {
    let fs = SimFs::new();
    let mut file = write(&fs, "/f", b"kept");
    file.sync().unwrap();
    file.write_all(b" lost").unwrap();
    fs.sync_dir(p("/")).unwrap();
    assert_eq!(fs.contents("/f").unwrap(), b"kept lost");
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/f").unwrap(), b"kept");
}

#[test]
fn a_rename_between_directories_is_kept_whole_by_a_sync_of_either() {
    for synced in ["/a", "/b"] {
        let fs = SimFs::new();
        fs.plant("/a/f", "x");
        fs.plant_dir("/b");
        fs.rename(p("/a/f"), p("/b/f")).unwrap();
        let lost = fs.fork();
        lost.crash(CrashMode::DropUnsynced);
        assert_eq!(lost.paths(), ["/a/", "/a/f", "/b/"]);
        fs.sync_dir(p(synced)).unwrap();
        fs.crash(CrashMode::DropUnsynced);
        assert_eq!(fs.paths(), ["/a/", "/b/", "/b/f"]);
    }
}

#[test]
fn a_directory_that_is_not_durable_takes_its_files_with_it() {
    let fs = SimFs::new();
    fs.create_dir(p("/d"), 0o755).unwrap();
    write(&fs, "/d/f", b"x").sync().unwrap();
    fs.sync_dir(p("/d")).unwrap();
    let lost = fs.fork();
    lost.crash(CrashMode::DropUnsynced);
    assert!(lost.paths().is_empty());
    fs.sync_dir(p("/")).unwrap();
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/d/f").unwrap(), b"x");
}

#[test]
fn a_removal_that_was_not_synced_is_undone() {
    let fs = SimFs::new();
    fs.plant("/d/f", "x");
    fs.remove_file(p("/d/f")).unwrap();
    fs.remove_dir(p("/d")).unwrap();
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/d/f").unwrap(), b"x");
    assert_eq!(fs.stat(p("/d/f")).unwrap().nlink, 1);
}

#[test]
fn changes_of_one_name_survive_in_their_order() {
    let fs = SimFs::new();
    fs.plant_dir("/b");
    write(&fs, "/f", b"1").sync().unwrap();
    fs.rename(p("/f"), p("/b/f")).unwrap();
    // Keeps the rename, and with it the creation before it, which must not come again.
    fs.sync_dir(p("/b")).unwrap();
    fs.sync_dir(p("/")).unwrap();
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.paths(), ["/b/", "/b/f"]);
}

#[test]
fn a_sync_of_the_mount_keeps_everything() {
    let fs = SimFs::new();
    fs.create_dir(p("/d"), 0o755).unwrap();
    write(&fs, "/d/f", b"x");
    fs.link(p("/d/f"), p("/g")).unwrap();
    fs.begin_sync(p("/d")).unwrap().sync().unwrap();
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/g").unwrap(), b"x");
    assert_eq!(fs.stat(p("/g")).unwrap().id, fs.stat(p("/d/f")).unwrap().id);
}

#[test]
fn names_are_kept_without_bytes() {
    let fs = SimFs::new();
    for i in 0..6 {
        write(&fs, &format!("/f{i}"), b"12345678");
    }
    write(&fs, "/safe", b"safe").sync().unwrap();
    fs.crash(CrashMode::KeepNames);
    let files = fs.files();
    assert_eq!(files.len(), 7);
    assert_eq!(files[p("/safe")], b"safe");
    let mut lengths: Vec<usize> = files.iter().filter(|(path, _)| *path != p("/safe")).map(|(_, b)| b.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 0, 4, 4, 8, 8]);
    assert!(!files.values().any(|bytes| bytes == b"12345678"));
}

#[test]
fn a_killed_process_loses_nothing_until_the_power_is_cut() {
    let fs = SimFs::new();
    write(&fs, "/f", b"x");
    fs.crash(CrashMode::KeepAll);
    assert_eq!(fs.contents("/f").unwrap(), b"x");
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/f"), None);
}

#[test]
fn a_mixed_crash_varies_with_its_seed_and_only_with_it() {
    let base = SimFs::new();
    base.plant_dir("/d");
    for i in 0..8 {
        write(&base, &format!("/d/{i}"), b"12345678");
    }
    let after = |seed| {
        let fs = base.fork();
        fs.crash(CrashMode::Mixed(seed));
        fs.files()
    };
    let results: Vec<_> = (0..200).map(after).collect();
    assert!((0..200).all(|seed| after(seed) == results[seed as usize]));
    let distinct: std::collections::BTreeSet<_> = results.iter().collect();
    assert!(distinct.len() > 100, "{}", distinct.len());
    // Both ends occur.
    assert!(results.iter().any(std::collections::BTreeMap::is_empty));
    assert!(results.iter().any(|files| files.len() == 8));
}

#[test]
fn after_a_stop_everything_fails_until_the_restart_and_old_handles_for_ever() {
    let fs = SimFs::new();
    fs.plant("/old", "old");
    let mut reader = fs.open(p("/old")).unwrap();
    let mut writer = fs.create_new(p("/f"), 0o644).unwrap();
    fs.stop_at(2);
    writer.write_all(b"1").unwrap();
    assert!(is_power_cut(&writer.write_all(b"2").unwrap_err()));
    assert!(fs.is_stopped());
    assert!(is_power_cut(&fs.stat(p("/old")).unwrap_err()));
    assert!(is_power_cut(&fs.read_dir(p("/")).unwrap_err()));
    assert!(is_power_cut(&fs.sync_dir(p("/")).unwrap_err()));
    assert!(is_power_cut(&reader.read(&mut [0]).unwrap_err()));
    fs.crash(CrashMode::KeepAll);
    assert_eq!(fs.contents("/f").unwrap(), b"1");
    assert!(is_power_cut(&writer.write_all(b"3").unwrap_err()));
    assert!(is_power_cut(&writer.sync().unwrap_err()));
    assert!(is_power_cut(&reader.read(&mut [0]).unwrap_err()));
    assert_eq!(fs.operations(), 0, "useless handles are no operations");
    fs.sync_dir(p("/")).unwrap();
}

#[test]
fn an_operation_whose_reply_is_lost_has_happened() {
    for (after, there) in [(false, false), (true, true)] {
        let fs = SimFs::new();
        if after {
            fs.stop_after(0)
        } else {
            fs.stop_at(0)
        }
        assert!(is_power_cut(&fs.create_dir(p("/d"), 0o755).unwrap_err()));
        fs.crash(CrashMode::KeepAll);
        assert_eq!(fs.stat(p("/d")).is_ok(), there);
    }
}

#[test]
fn a_repeated_operation_returns_the_second_reply() {
    let repeated = |run: &dyn Fn(&SimFs) -> std::io::Result<()>| {
        let fs = SimFs::new();
        fs.plant("/f", "f");
        fs.plant_dir("/d");
        fs.repeat_at(0);
        (run(&fs).map_err(|error| error.kind()), fs.paths().join(" "))
    };
    let (exists, missing) = (Err(ErrorKind::AlreadyExists), Err(ErrorKind::NotFound));
    assert_eq!(repeated(&|fs| fs.create_dir(p("/new"), 0o755)), (exists, "/d/ /f /new/".into()));
    assert_eq!(repeated(&|fs| fs.link(p("/f"), p("/new"))), (exists, "/d/ /f /new".into()));
    assert_eq!(repeated(&|fs| fs.create_new(p("/new"), 0o644).map(drop)), (exists, "/d/ /f /new".into()));
    assert_eq!(repeated(&|fs| fs.rename(p("/f"), p("/new"))), (missing, "/d/ /new".into()));
    assert_eq!(repeated(&|fs| fs.remove_file(p("/f"))), (missing, "/d/".into()));
    assert_eq!(repeated(&|fs| fs.remove_dir(p("/d"))), (missing, "/f".into()));
    assert_eq!(repeated(&|fs| fs.begin_sync(p("/d"))?.sync()), (Ok(()), "/d/ /f".into()));

    let fs = SimFs::new();
    fs.repeat_at(2);
    let mut file = write(&fs, "/f", b"one ");
    file.write_all(b"two ").unwrap();
    file.write_all(b"three").unwrap();
    assert_eq!(fs.contents("/f").unwrap(), b"one two three", "a repeated write goes to the same place");
}

#[test]
fn planned_failures_happen_once_or_below_a_path() {
    let fs = SimFs::new();
    fs.plant("/a/f", "x");
    fs.fail_at(1, ErrorKind::StorageFull);
    fs.create_dir(p("/d"), 0o755).unwrap();
    assert_eq!(fs.create_dir(p("/e"), 0o755).unwrap_err().kind(), ErrorKind::StorageFull);
    fs.create_dir(p("/e"), 0o755).unwrap();
    fs.fail_path("/a", ErrorKind::PermissionDenied);
    assert_eq!(fs.open(p("/a/f")).err().unwrap().kind(), ErrorKind::PermissionDenied);
    assert_eq!(fs.rename(p("/d"), p("/a/d")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(fs.stat(p("/e")).is_ok());
    fs.heal();
    assert!(fs.open(p("/a/f")).is_ok());
}

#[test]
fn a_full_disk_refuses_bytes_until_some_are_freed() {
    let fs = SimFs::new();
    fs.set_capacity(10);
    write(&fs, "/a", b"12345678");
    assert_eq!(fs.space(p("/")).unwrap().bytes, 2);
    let mut file = fs.create_new(p("/b"), 0o644).unwrap();
    assert_eq!(file.write(b"123").unwrap_err().kind(), ErrorKind::StorageFull);
    fs.link(p("/a"), p("/a2")).unwrap();
    fs.remove_file(p("/a")).unwrap();
    assert_eq!(fs.space(p("/")).unwrap().bytes, 2, "it has another name");
    fs.remove_file(p("/a2")).unwrap();
    file.write_all(b"1234567890").unwrap();
    assert_eq!(fs.space(p("/")).unwrap().bytes, 0);
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.space(p("/")).unwrap().bytes, 10);
}

#[test]
fn a_full_or_read_only_mount_refuses_writes() {
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        let fs = SimFs::new();
        fs.plant("/full/f", "x");
        fs.plant("/full/g", "x");
        fs.plant("/other/f", "x");
        let mut open = write(&fs, "/full/open", b"1");
        fs.refuse_writes("/full", kind);
        let refused = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().kind(), kind);
        refused(open.write_all(b"2"));
        refused(fs.create_new(p("/full/new"), 0o644).map(drop));
        refused(fs.create_dir(p("/full/new"), 0o755));
        refused(fs.link(p("/full/f"), p("/full/new")));
        assert_eq!(fs.refusals(), 4);
        let full = kind == ErrorKind::StorageFull;
        assert_eq!(fs.rename(p("/full/f"), p("/full/h")).is_ok(), full);
        assert_eq!(fs.remove_file(p("/full/g")).is_ok(), full);
        assert_eq!(fs.space(p("/full")).unwrap().bytes == 0, full);
        assert!(fs.open(p("/full/open")).is_ok() && fs.sync_dir(p("/full")).is_ok());
        write(&fs, "/other/new", b"1");
        fs.heal();
        open.write_all(b"2").unwrap();
        assert_eq!(fs.contents("/full/open").unwrap(), b"12");
    }
}

#[test]
fn a_lock_is_released_by_a_crash_and_its_waiter_wakes_up() {
    let fs = SimFs::new();
    fs.plant("/lock", "");
    let held = fs.lock(p("/lock"), Duration::from_secs(600)).unwrap();
    let waiter = {
        let fs = fs.clone();
        std::thread::spawn(move || fs.lock(p("/lock"), Duration::from_secs(600)).map(drop))
    };
    while fs.operations() < 2 {
        std::thread::yield_now();
    }
    fs.stop();
    assert!(is_power_cut(&waiter.join().unwrap().unwrap_err()));
    fs.crash(CrashMode::DropUnsynced);
    let again = fs.lock(p("/lock"), Duration::from_secs(600)).unwrap();
    // The guard of the former life releases nothing.
    drop(held);
    drop(again);
    drop(fs.lock(p("/lock"), Duration::from_secs(600)).unwrap());
}

#[test]
fn the_log_names_each_operation_and_is_the_same_in_every_run() {
    let run = || {
        let fs = SimFs::new();
        fs.plant_dir("/d");
        durable_fs::durable::create(&fs, p("/d/f"), b"x", 0o644).unwrap();
        durable_fs::durable::replace(&fs, p("/d/f"), b"y", 0o644).unwrap();
        fs.log()
    };
    let expected = [
        "create /d/.tmp",
        "write /d/.tmp",
        "sync /d/.tmp",
        "link /d/.tmp -> /d/f",
        "unlink /d/.tmp",
        "sync_dir /d",
        "create /d/.tmp",
        "write /d/.tmp",
        "sync /d/.tmp",
        "rename /d/.tmp -> /d/f",
        "sync_dir /d",
    ];
    assert_eq!(run(), expected);
    assert_eq!(run(), expected);
}

#[test]
fn forks_share_nothing() {
    let fs = SimFs::new();
    fs.plant("/f", "1");
    let fork = fs.fork();
    assert!(fork.corrupt("/f", "2"));
    fork.remove_file(p("/f")).unwrap();
    assert_eq!(fs.contents("/f").unwrap(), b"1");
    assert!(!fork.corrupt("/f", "3"));
}

#[test]
fn times_come_from_the_clock_and_survive_when_synced() {
    let fs = SimFs::new();
    fs.set_time(500);
    let mut file = write(&fs, "/f", b"x");
    assert_eq!(fs.stat(p("/f")).unwrap().mtime, 500);
    fs.set_mtime(p("/f"), 700).unwrap();
    file.sync().unwrap();
    fs.sync_dir(p("/")).unwrap();
    fs.set_mtime(p("/f"), 900).unwrap();
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.stat(p("/f")).unwrap().mtime, 700);
}

#[test]
fn lost_bytes_are_reported_once_to_each_descriptor_that_was_open() {
    let fs = SimFs::new();
    let mut kept = write(&fs, "/kept", b"kept");
    kept.sync().unwrap();
    let mut before = fs.begin_sync(p("/")).unwrap();
    let mut file = write(&fs, "/f", b"lost");
    fs.lose_unsynced_at(fs.operations());
    fs.sync_dir(p("/")).unwrap();
    assert_eq!(fs.losses(), 1);
    let mut after = fs.begin_sync(p("/")).unwrap();
    after.sync().expect("another process got the error");
    assert!(before.sync().is_err() && file.sync().is_err());
    before.sync().expect("an error is reported once");
    file.sync().expect("an error is reported once");
    kept.sync().expect("nothing of it was lost");
    assert_eq!(fs.contents("/f").unwrap(), b"lost", "still in the cache");
    fs.drop_caches();
    assert!(matches!(fs.contents("/f").unwrap().as_slice(), b"" | b"\0\0\0\0"));
    assert_eq!(fs.contents("/kept").unwrap(), b"kept");
}

#[test]
fn a_power_cut_shows_lost_bytes_and_a_killed_process_does_not() {
    let base = SimFs::new();
    for number in 0..8 {
        let mut file = write(&base, &format!("/{number}"), b"safe");
        file.sync().unwrap();
        file.write_all(b"lost").unwrap();
    }
    base.sync_dir(p("/")).unwrap();
    base.lose_unsynced();
    for mode in CrashMode::all(7) {
        let fs = base.fork();
        fs.crash(mode);
        let files = fs.files();
        match mode {
            CrashMode::KeepAll => assert!(files.values().all(|bytes| bytes == b"safelost")),
            _ => assert!(files.values().all(|bytes| bytes == b"safe" || bytes == b"safe\0\0\0\0")),
        }
    }
    assert!(base.files().values().all(|bytes| bytes == b"safelost"));
}

#[test]
fn bytes_written_again_after_a_loss_are_kept() {
    let fs = SimFs::new();
    let mut file = write(&fs, "/f", b"lost");
    fs.lose_unsynced();
    file.write_first(b"anew").unwrap();
    assert!(file.sync().is_err());
    fs.drop_caches();
    assert_eq!(fs.contents("/f").unwrap(), b"anew");
}

#[test]
fn where_a_mount_does_not_report_files_only_their_own_descriptors_are_told() {
    let fs = SimFs::new();
    fs.set_reports_files(false);
    let mut mount = fs.begin_sync(p("/")).unwrap();
    assert!(!mount.reports_files());
    let mut file = write(&fs, "/f", b"lost");
    fs.lose_unsynced();
    mount.sync().expect("it does not get the error");
    assert!(file.sync().is_err());
}

#[test]
fn a_hidden_name_is_not_found_for_a_while_by_calls_that_look() {
    let fs = SimFs::new();
    fs.plant_dir("/d");
    fs.hide_at(1, 5);
    fs.create_new(p("/d/other"), 0o644).unwrap();
    fs.create_new(p("/d/f"), 0o644).unwrap();
    assert_eq!(fs.stat(p("/d/f")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs.open(p("/d/f")).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(fs.read_dir(p("/d")).unwrap().len(), 1);
    let dir = fs.open_dir(p("/d")).unwrap();
    assert_eq!(dir.stat_of("f".as_ref()).unwrap_err().kind(), ErrorKind::NotFound);
    // It exists.
    assert_eq!(fs.create_new(p("/d/f"), 0o644).err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs.open_beneath(p("/d"), p("f")).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(fs.stat(p("/d/f")).is_ok());
    assert_eq!(fs.lookups_denied(), 5);
    assert!(fs.hide("/d", 1) && !fs.hide("/none", 1));
    fs.heal();
    assert!(fs.stat(p("/d/f")).is_ok());
}

#[test]
fn a_second_actor_runs_before_every_call_and_changes_names_in_one_step() {
    let fs = SimFs::new();
    fs.plant("/d/f", "inside");
    fs.plant("/outside/f", "outside");
    fs.plant_symlink("/link", "/outside");
    fs.set_second_actor(|fs, call| match call {
        1 => assert!(fs.exchange("/d", "/link") && !fs.exchange("/d", "/none")),
        2 => fs.plant("/planted", "x"),
        3 => assert!(fs.touch("/link/f", 7) && !fs.touch("/none", 7)),
        _ => {}
    });
    let dir = fs.open_dir(p("/d")).unwrap();
    assert_eq!(fs.stat(p("/d")).unwrap().kind, durable_fs::FileKind::Symlink);
    assert_eq!(fs.calls(), 2);
    assert!(dir.stat_of("f".as_ref()).is_ok());
    assert_eq!(fs.stat(p("/link/f")).unwrap().mtime, 7);
    assert!(fs.contents("/planted").is_some());
    // Both changes are durable.
    fs.crash(CrashMode::DropUnsynced);
    assert_eq!(fs.contents("/link/f").unwrap(), b"inside");
    assert_eq!(fs.fork().calls(), 0);
}
