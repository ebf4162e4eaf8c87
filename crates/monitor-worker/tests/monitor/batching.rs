//! Which drops make a batch, in which order, and how directories are renamed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, RealFs};
use monitor_worker::receipt::DropOutcome;
use monitor_worker::{Chain, Monitor, MonitorSettings};
use service::clock::ManualClock;

use crate::scene::{FakeChain, INBOUND, POST, START, Scene};

fn batches(scene: &Scene) -> Vec<usize> {
    scene.chain.books.lock().unwrap().batches.clone()
}

#[tokio::test]
async fn all_ready_drops_become_one_batch_oldest_first() {
    let scene = Scene::new();
    for name in ["zebra", "ape", "mole"] {
        scene.post(name, &[("same/path", name)]);
    }
    let report = scene.run().await;
    assert_eq!((report.taken, report.published), (3, 3));
    assert_eq!(batches(&scene), [3]);
    assert_eq!(scene.chain.books.lock().unwrap().order, ["zebra", "ape", "mole"]);
    assert_eq!(scene.visible("same/path").as_deref(), Some("mole"), "of two with one path, the later wins");
}

#[tokio::test]
async fn the_drop_that_was_renamed_later_wins_whatever_modification_times_say() {
    let scene = Scene::new();
    scene.post("1.0", &[("same/path", "1.0")]);
    scene.post("1.1", &[("same/path", "1.1")]);
    // As `cp -a` and `rsync -a` leave it.
    scene.fs.set_mtime(Path::new("/post/tuf_ready_1.1"), START - 86_400).unwrap();
    scene.fs.rename(Path::new("/post/tuf_ready_1.1"), Path::new("/post/tuf_tmp_1.1")).unwrap();
    scene.fs.rename(Path::new("/post/tuf_tmp_1.1"), Path::new("/post/tuf_ready_1.1")).unwrap();
    scene.run().await;
    assert_eq!(scene.visible("same/path").as_deref(), Some("1.1"));
    assert_eq!(scene.chain.books.lock().unwrap().order, ["1.0", "1.1"]);
}

#[tokio::test]
async fn the_order_survives_a_restart_also_where_the_mounts_clock_ticks_seldom() {
    for coarse in [false, true] {
        let scene = Scene::new();
        for (name, file) in [("zebra", "same/path"), ("other", "other"), ("ape", "same/path"), ("bat", "same/path")] {
            scene.post(name, &[(file, name)]);
        }
        scene.fs.set_coarse_times(coarse);
        let monitor = scene.open().unwrap();
        scene.make_unavailable_once();
        // Taken in, and then the process ends: only the directories remember the order.
        monitor.run_cycle(&scene.chain).await.unwrap_err();
        drop(monitor);
        let waiting = scene.in_post().iter().filter(|name| name.starts_with("tuf_ready_")).count();
        assert_eq!(waiting, if coarse { 2 } else { 0 }, "only where two would get one time");
        assert_eq!(scene.run().await.published, 4);
        let mut order = scene.chain.books.lock().unwrap().order.clone();
        order.retain(|name| name != "other");
        assert_eq!(order, ["zebra", "ape", "bat"], "coarse: {coarse}");
        assert_eq!(scene.visible("same/path").as_deref(), Some("bat"));
    }
}

#[tokio::test]
async fn subdirectories_are_kept() {
    let scene = Scene::new();
    scene.post("X", &[("a/b/c/d.txt", "deep"), ("a/e.txt", "shallow"), ("f", "top")]);
    scene.fs.plant_dir(format!("{POST}/tuf_ready_X/empty/dir"));
    scene.run().await;
    assert_eq!(scene.visible("a/b/c/d.txt").as_deref(), Some("deep"));
    assert_eq!(scene.visible("a/e.txt").as_deref(), Some("shallow"));
    assert_eq!(scene.receipt("X").unwrap().targets, 3);
}

#[tokio::test]
async fn a_receipt_names_the_versions_that_published_the_drop() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    scene.run().await;
    let receipt = scene.receipt("X").unwrap();
    assert_eq!(receipt.outcome, DropOutcome::Published);
    assert_eq!((receipt.record, receipt.snapshot_version, receipt.timestamp_version), (Some(1), Some(1), Some(1)));
    assert_eq!(receipt.finished_at, "2001-09-09T01:46:40Z");
    assert!(receipt.batch.is_some() && receipt.digest.is_some());
    assert_eq!(scene.in_post(), Vec::<String>::new());
    assert_eq!(scene.in_inbound(), Vec::<String>::new());
}

#[tokio::test]
async fn names_without_the_ready_prefix_are_ignored() {
    let scene = Scene::new();
    for dir in ["tuf_tmp_X", "TUF_READY_X", "other", ".nfs0000000000000001", "tuf_rejected_Y"] {
        scene.fs.plant(format!("{POST}/{dir}/a"), "a");
    }
    scene.fs.plant(format!("{POST}/tuf_ready_file"), "not a directory");
    scene.fs.plant_symlink(format!("{POST}/tuf_ready_link"), "/post/tuf_tmp_X");
    let report = scene.run().await;
    assert_eq!((report.taken, report.waiting), (0, 0));
    assert_eq!(scene.in_post().len(), 7);
}

#[tokio::test]
async fn upper_case_prefixes_are_taken_on_request() {
    let mut scene = Scene::new();
    scene.settings.any_case = true;
    scene.fs.plant(format!("{POST}/TUF_READY_X/a"), "a");
    scene.fs.plant(format!("{POST}/tuf_ready_Y/b"), "b");
    scene.fs.plant(format!("{POST}/TUF_PROCESSING_Z/c"), "c");
    assert_eq!(scene.run().await.published, 3);
    assert_eq!(scene.in_post(), Vec::<String>::new());
}

#[tokio::test]
async fn leftovers_of_nfs_in_a_drop_are_not_targets() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a"), (".nfs00000000004b21f700000001", "old"), (".nfsfile", "kept")]);
    scene.run().await;
    assert_eq!(scene.receipt("X").unwrap().targets, 2);
}

#[tokio::test]
async fn batches_are_bounded() {
    let mut scene = Scene::new();
    scene.settings.limits.drops = 2;
    for n in 0..5 {
        scene.post(&format!("d{n}"), &[(&format!("f{n}"), "x")]);
    }
    assert_eq!(scene.run().await.published, 5);
    assert_eq!(batches(&scene), [2, 2, 1]);

    let mut scene = Scene::new();
    scene.settings.limits.bytes = 10;
    scene.post("small", &[("a", "12345")]);
    scene.post("large", &[("b", "a drop larger than a batch goes alone")]);
    scene.post("next", &[("c", "12345")]);
    scene.post("last", &[("d", "12345")]);
    assert_eq!(scene.run().await.published, 4);
    assert_eq!(batches(&scene), [1, 1, 2]);

    let mut scene = Scene::new();
    scene.settings.limits.files = 2;
    scene.post("a", &[("a1", "x")]);
    scene.post("b", &[("b1", "x"), ("b2", "x")]);
    assert_eq!(scene.run().await.published, 2);
    assert_eq!(batches(&scene), [1, 1]);
}

#[tokio::test]
async fn a_drop_that_does_not_fit_waits_and_others_pass() {
    let mut scene = Scene::new();
    scene.settings.limits.reserve_bytes = 0;
    scene.post("large", &[("large", &"x".repeat(50_000))]);
    scene.post("small", &[("small", "x")]);
    scene.fs.set_capacity(100_000);
    scene.fs.plant("/inbound/other-use", vec![0; 30_000]);
    let monitor = scene.open().unwrap();
    let report = scene.drain(&monitor).await;
    assert_eq!((report.published, report.rejected, report.waiting), (1, 0, 1));
    assert_eq!(report.held[0].0.as_str(), "large");
    assert!(report.held[0].1.to_string().contains("KiB are free, of which"), "{:?}", report.held);
    assert_eq!(monitor.counts()["held"], 1);
    scene.fs.set_capacity(1 << 30);
    assert_eq!(scene.drain(&monitor).await.published, 1);
    assert_eq!(monitor.counts()["held"], 0);
}

#[tokio::test]
async fn a_drop_without_room_in_the_targets_directory_waits_and_others_pass() {
    let scene = Scene::new();
    scene.post("large", &[("large", &"x".repeat(50_000)), ("shared", "older")]);
    scene.post("small", &[("small", "x")]);
    scene.chain.books.lock().unwrap().room = Some(10_000);
    let monitor = scene.open().unwrap();
    let report = scene.drain(&monitor).await;
    assert_eq!((report.published, report.rejected, report.waiting), (1, 0, 1));
    assert_eq!(report.held[0].0.as_str(), "large");
    assert!(report.held[0].1.to_string().contains("in the targets directory"), "{:?}", report.held);
    assert_eq!(monitor.counts()["held"], 1);
    // Others pass, except one that would win over it and then be replaced.
    scene.post("next", &[("next", "x")]);
    scene.post("younger", &[("shared", "younger")]);
    assert_eq!(scene.drain(&monitor).await.published, 1);
    assert_eq!((scene.outcome("large"), scene.outcome("younger")), (None, None));
    // It is not copied in every cycle.
    let tried = batches(&scene).len();
    for _ in 0..20 {
        scene.drain(&monitor).await;
    }
    assert!(batches(&scene).len() < tried + 6, "{:?}", batches(&scene));
    scene.chain.books.lock().unwrap().room = None;
    for _ in 0..64 {
        scene.drain(&monitor).await;
    }
    let published = Some(DropOutcome::Published);
    assert_eq!((scene.outcome("large"), scene.outcome("younger")), (published, published));
    assert_eq!(scene.visible("shared").as_deref(), Some("younger"));
    assert_eq!(monitor.counts()["held"], 0);
}

#[tokio::test]
async fn a_disk_that_fills_while_copying_holds_back_and_loses_nothing() {
    let mut scene = Scene::new();
    scene.settings.limits.reserve_bytes = 0;
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    for n in 0..6 {
        scene.fs.fail_at(scene.fs.operations() + n, std::io::ErrorKind::StorageFull);
    }
    for _ in 0..8 {
        let _ = monitor.run_cycle(&scene.chain).await;
    }
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Published));
}

#[tokio::test]
async fn the_same_drop_again_gets_a_receipt_for_what_clients_see_now() {
    let scene = Scene::new();
    scene.post("X", &[("a", "first")]);
    scene.run().await;
    let first = scene.receipt("X").unwrap();
    scene.fs.remove_file(Path::new("/post/tuf_receipt_X.json")).unwrap();
    scene.clock.advance(60);
    scene.post("X", &[("a", "first")]);
    let report = scene.run().await;
    assert_eq!(report.published, 1);
    let again = scene.receipt("X").unwrap();
    assert_eq!((&again.digest, again.outcome), (&first.digest, DropOutcome::Published));
    assert!(again.finished_at > first.finished_at && again.record > first.record, "{again:?}");
    assert_eq!(batches(&scene), [1, 1], "the targets-worker decides");
    scene.post("X", &[("a", "second")]);
    scene.run().await;
    assert_eq!(scene.visible("a").as_deref(), Some("second"));
    assert_ne!(scene.receipt("X").unwrap().digest, first.digest);
}

#[tokio::test]
async fn a_drop_that_was_replaced_under_its_name_is_published_again() {
    let scene = Scene::new();
    for (version, text) in [(1, "A"), (2, "B"), (3, "A")] {
        scene.post("X", &[("a", text)]);
        scene.run().await;
        let receipt = scene.receipt("X").unwrap();
        assert_eq!((receipt.record, receipt.timestamp_version), (Some(version), Some(version)), "{text}");
        assert_eq!(scene.visible("a").as_deref(), Some(text), "the receipt says so");
        assert_eq!(receipt.post, None, "private");
    }
}

#[tokio::test]
async fn a_target_that_was_removed_since_is_published_again() {
    let scene = Scene::new();
    scene.post("X", &[("a", "A")]);
    scene.run().await;
    {
        let mut books = scene.chain.books.lock().unwrap();
        books.signed.clear();
        books.visible.clear();
    }
    scene.post("X", &[("a", "A")]);
    scene.run().await;
    assert_eq!(scene.visible("a").as_deref(), Some("A"));
}

#[tokio::test]
async fn pause_stops_intake_only_and_survives_a_restart() {
    let scene = Scene::new();
    scene.post("before", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    // Taken in, but the chain does not answer yet.
    scene.make_unavailable_once();
    assert!(monitor.run_cycle(&scene.chain).await.is_err());
    let set = monitor.set_paused(true, Some("maintenance".into())).await.unwrap();
    assert_eq!((set.paused, set.reason.as_deref()), (true, Some("maintenance")));
    scene.post("after", &[("b", "b")]);
    drop(monitor);

    let monitor = scene.open().unwrap();
    assert_eq!(monitor.processing(), set);
    let report = scene.drain(&monitor).await;
    assert_eq!((report.published, report.waiting), (1, 1), "what was taken in is finished");
    let again = monitor.set_paused(true, Some("other".into())).await.unwrap();
    assert_eq!(again, set, "pausing again keeps the first reason");
    assert!(!monitor.set_paused(false, None).await.unwrap().paused);
    assert!(!scene.open().unwrap().processing().paused);
    assert_eq!(scene.drain(&monitor).await.published, 1);
}

#[tokio::test]
async fn an_unknown_processing_directory_is_checked_like_a_ready_one() {
    let scene = Scene::new();
    scene.fs.plant(format!("{POST}/tuf_processing_good/a"), "a");
    scene.fs.plant_symlink(format!("{POST}/tuf_processing_bad/link"), "a");
    let report = scene.run().await;
    assert_eq!((report.taken, report.published, report.rejected), (0, 1, 1));
}

#[tokio::test]
async fn old_leftovers_are_collected_and_loose_files_are_not() {
    let scene = Scene::new();
    scene.fs.plant("/inbound/.staging_one_7/0/a", "own");
    scene.fs.plant("/inbound/.staging_other_7/0/a", "other");
    let old = format!("batch_{}", "0123456789abcdef".repeat(2));
    scene.fs.plant(format!("/inbound/{old}/0/a"), "old");
    scene.fs.plant("/inbound/batch_of_somebody/a", "not a batch's name");
    scene.fs.plant("/inbound/loose.txt", "loose");
    scene.run().await;
    let mut left = scene.in_inbound();
    left.sort();
    assert_eq!(left, [".staging_other_7", &old, "batch_of_somebody", "loose.txt"]);
    scene.later(90_000);
    let monitor = scene.open().unwrap();
    scene.drain(&monitor).await;
    monitor.tidy().await.unwrap();
    let mut left = scene.in_inbound();
    left.sort();
    assert_eq!(left, ["batch_of_somebody", "loose.txt"]);
}

#[tokio::test]
async fn receipts_are_removed_after_their_time() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    scene.run().await;
    scene.later(8 * 86_400);
    scene.run().await;
    assert_eq!(scene.receipt("X"), None);
    scene.post("X", &[("a", "a")]);
    scene.run().await;
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Published));
}

#[tokio::test]
async fn a_damaged_batch_directory_is_replaced() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a"), ("b", "b")]);
    let monitor = scene.open().unwrap();
    scene.make_unavailable_once();
    assert!(monitor.run_cycle(&scene.chain).await.is_err());
    let batch = scene.in_inbound().pop().unwrap();
    scene.fs.remove_file(&Path::new(INBOUND).join(&batch).join("0/b")).unwrap();
    assert_eq!(scene.drain(&monitor).await.published, 1);
    assert_eq!(scene.in_inbound(), Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_that_holds_other_bytes_is_staged_again() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    scene.make_unavailable_once();
    assert!(monitor.run_cycle(&scene.chain).await.is_err());
    let batch = scene.in_inbound().pop().unwrap();
    assert!(scene.fs.corrupt(Path::new(INBOUND).join(&batch).join("0/a"), "b"));
    scene.chain.books.lock().unwrap().damage_expected = true;
    assert!(monitor.run_cycle(&scene.chain).await.is_err(), "the targets-worker notices");
    assert_eq!(scene.drain(&monitor).await.published, 1);
    assert_eq!(scene.visible("a").as_deref(), Some("a"));
}

#[tokio::test]
async fn a_thousand_drops_are_one_batch_with_few_syncs() {
    let scene = Scene::new();
    for n in 0..1000 {
        scene.post(&format!("d{n:04}"), &[(&format!("f{n:04}"), "x")]);
    }
    assert_eq!(scene.run().await.published, 1000);
    assert_eq!(batches(&scene), [1000]);
    let syncs = scene.fs.log().iter().filter(|line| line.contains("sync")).count();
    assert!(syncs < 20, "{syncs} syncs");
}

/// Two monitors, each with its own state, work on one drop directory at the same time, on the real file system.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_monitors_on_one_directory_publish_every_drop_once() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let at = |name: &str| dir.path().join(name);
    for name in ["post", "inbound", "state-a", "state-b"] {
        fs.create_dir(&at(name), 0o755).unwrap();
    }
    let chain = FakeChain::new(fs.clone(), &at("inbound"));
    let open = |name: &str| {
        let settings = MonitorSettings::new(at("post"), at("inbound"), at(&format!("state-{name}")), name);
        Monitor::open(fs.clone(), Arc::new(ManualClock::at(START)), settings).unwrap()
    };
    let (a, b) = (open("a"), open("b"));
    let post = |n: usize| {
        let tmp = at("post").join(format!("tuf_tmp_{n}"));
        fs.create_dir(&tmp, 0o755).unwrap();
        for part in 0..3 {
            let mut file = fs.create_new(&tmp.join(format!("f{n}-{part}")), 0o644).unwrap();
            std::io::Write::write_all(&mut file, format!("{n} {part}").as_bytes()).unwrap();
        }
        fs.rename(&tmp, &at("post").join(format!("tuf_ready_{n}"))).unwrap();
    };
    async fn work(monitor: &Monitor, chain: &dyn Chain) {
        // A monitor that loses a race may fail a cycle; the next one succeeds.
        let _ = monitor.run_cycle(chain).await;
        let _ = monitor.tidy().await;
    }
    for n in 0..60 {
        post(n);
        if n % 3 == 0 {
            tokio::join!(work(&a, &chain), work(&b, &chain));
        }
    }
    for _ in 0..5 {
        tokio::join!(work(&a, &chain), work(&b, &chain));
    }
    let books = chain.books.lock().unwrap();
    assert_eq!(books.order.len(), 60, "each once");
    assert_eq!(books.visible.len(), 180);
    let mut names: Vec<_> =
        fs.read_dir(&at("post")).unwrap().into_iter().map(|e| e.name.into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("tuf_receipt_"));
    assert_eq!(names, Vec::<String>::new());
}

#[tokio::test]
async fn a_drop_that_was_taken_in_and_makes_no_progress_still_waits() {
    let scene = Scene::new();
    scene.post("one", &[("a", "1")]);
    let monitor = scene.open().unwrap();
    for _ in 0..2 {
        scene.make_unavailable_once();
        monitor.run_cycle(&scene.chain).await.unwrap_err();
        scene.clock.advance(400);
    }
    assert!(monitor.oldest_waiting() >= Duration::from_secs(700), "{:?}", monitor.oldest_waiting());
    scene.drain(&monitor).await;
    assert_eq!(monitor.oldest_waiting(), Duration::ZERO);
}

#[tokio::test]
async fn the_age_of_a_drop_is_not_its_modification_time() {
    let scene = Scene::new();
    scene.post("one", &[("a", "1")]);
    scene.fs.set_mtime(Path::new("/post/tuf_ready_one"), START - 1_000_000).unwrap();
    let monitor = scene.open().unwrap();
    scene.clock.advance(60);
    monitor.recount().await.unwrap();
    assert_eq!(monitor.oldest_waiting(), Duration::from_secs(59));
}
