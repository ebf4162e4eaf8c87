//! Bounds of what drops and names may cost, alone and in sum, and what goes on beyond them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durable_fs::Fs;
use monitor_worker::receipt::DropOutcome;
use monitor_worker::{CycleError, CycleReport};

use crate::scene::{POST, Scene};

const PUBLISHED: Option<DropOutcome> = Some(DropOutcome::Published);

fn order(scene: &Scene) -> Vec<String> {
    scene.chain.books.lock().unwrap().order.clone()
}

fn held(report: &CycleReport) -> Vec<&str> {
    report.held.iter().map(|(name, _)| name.as_str()).collect()
}

/// A drop of `files` files and one more, `path`, for which the inbound directory has no room until it gets some.
fn post_without_room(scene: &mut Scene, name: &str, files: usize, path: &str) {
    scene.settings.limits.reserve_bytes = 0;
    scene.fs.set_capacity(2_000_000);
    scene.post(name, &[(path, name)]);
    for n in 0..files {
        scene.fs.plant(format!("{POST}/tuf_ready_{name}/{name}-{n}"), "");
    }
    scene.fs.plant(format!("{POST}/tuf_ready_{name}/{name}-large"), vec![b'x'; 1_200_000]);
}

fn give_room(scene: &Scene) {
    scene.fs.set_capacity(1 << 30);
}

#[tokio::test]
async fn of_a_drop_with_far_too_many_names_no_more_are_read_than_are_allowed() {
    type Plant = fn(&Scene, usize);
    let kinds: [Plant; 4] = [
        |scene, n| scene.fs.plant(format!("{POST}/tuf_ready_X/{n}"), ""),
        |scene, n| scene.fs.plant(format!("{POST}/tuf_ready_X/sub/{n}"), ""),
        |scene, n| scene.fs.plant_dir(format!("{POST}/tuf_ready_X/{n}")),
        |scene, n| scene.fs.plant(format!("{POST}/tuf_ready_X/.nfs{n:08}"), ""),
    ];
    for (number, plant) in kinds.into_iter().enumerate() {
        let mut scene = Scene::new();
        scene.settings.limits.files_per_drop = 10;
        scene.post("X", &[("a", "a")]);
        for n in 0..5_000 {
            plant(&scene, n);
        }
        scene.run().await;
        assert!(scene.reason("X").contains("more than 10 files"), "{}", scene.reason("X"));
        assert!(scene.fs.entries_read() < 300, "{number}: {} names read", scene.fs.entries_read());
    }
}

#[tokio::test]
async fn a_drop_with_as_many_files_as_are_allowed_and_a_manifest_is_published() {
    let mut scene = Scene::new();
    scene.settings.limits.files_per_drop = 2;
    let sum = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let manifest = format!("{sum}  a\n{sum}  b\n");
    scene.post("X", &[("a", "a"), ("b", "a"), ("SHA256SUMS", &manifest)]);
    scene.run().await;
    assert_eq!(scene.outcome("X"), PUBLISHED);
}

#[tokio::test]
async fn of_very_many_drops_the_oldest_are_listed_and_an_operator_is_notified() {
    let mut scene = Scene::new();
    scene.settings.limits.listed_drops = 3;
    let names: Vec<String> = (0..10).rev().map(|n| n.to_string()).collect();
    for name in &names {
        scene.post(name, &[("same", name)]);
    }
    let monitor = scene.open().unwrap();
    monitor.recount().await.unwrap();
    assert_eq!(monitor.counts()["ready"], 10);
    let notices = monitor.notices();
    assert!(notices[0].contains("10 drops, and the 7 youngest wait"), "{notices:?}");
    for _ in 0..10 {
        scene.drain(&monitor).await;
    }
    assert_eq!(order(&scene), names);
    assert_eq!((scene.visible("same").as_deref(), monitor.notices()), (Some("0"), Vec::new()));
}

#[tokio::test]
async fn a_ready_drop_overtakes_no_drop_that_was_taken_in_and_is_not_listed() {
    let mut scene = Scene::new();
    scene.settings.limits.listed_drops = 2;
    for name in ["1", "2", "3", "4"] {
        scene.post(name, &[("same", name)]);
        let (from, to) = (format!("{POST}/tuf_ready_{name}"), format!("{POST}/tuf_processing_{name}"));
        scene.fs.rename(from.as_ref(), to.as_ref()).unwrap();
    }
    scene.post("5", &[("same", "5")]);
    let monitor = scene.open().unwrap();
    for _ in 0..5 {
        scene.drain(&monitor).await;
    }
    assert_eq!(order(&scene), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_drop_that_is_held_back_is_not_walked_through_in_every_cycle() {
    let mut scene = Scene::new();
    post_without_room(&mut scene, "large", 200, "shared");
    scene.post("younger", &[("shared", "younger")]);
    let monitor = scene.open().unwrap();
    assert_eq!(held(&scene.drain(&monitor).await), ["large", "younger"]);
    let before = scene.fs.entries_read();
    for _ in 0..20 {
        assert_eq!(held(&monitor.run_cycle(&scene.chain).await.unwrap()), ["large", "younger"]);
    }
    let read = scene.fs.entries_read() - before;
    assert!(read < 200, "{read} names read");
    give_room(&scene);
    scene.drain(&monitor).await;
    assert_eq!((scene.outcome("large"), scene.visible("shared").as_deref()), (PUBLISHED, Some("younger")));
}

#[tokio::test]
async fn a_drop_whose_paths_are_too_many_to_be_remembered_holds_back_only_those_that_share_one() {
    // None is remembered, and then each but the last.
    for held_paths in [0, 8 * 25] {
        let mut scene = Scene::new();
        scene.settings.limits.held_paths = held_paths;
        for name in ["one", "two", "three"] {
            post_without_room(&mut scene, name, 10, &format!("{name}/shared"));
        }
        // Older than none of them, and sharing a path with the last; with a drop that waits; with none.
        scene.post("shares", &[("three/shared", "shares"), ("dir/more", "shares")]);
        scene.post("shares-too", &[("dir/more", "shares-too")]);
        scene.post("other", &[("three/other", "other")]);
        scene.fs.set_capacity(4_500_000);
        scene.fs.plant("/inbound/other-use", vec![0; 700_000]);
        let monitor = scene.open().unwrap();
        let report = scene.drain(&monitor).await;
        assert_eq!(scene.outcome("other"), PUBLISHED, "{held_paths}: nothing else stops");
        assert_eq!(held(&report), ["one", "two", "three", "shares", "shares-too"], "{held_paths}");
        let reason = report.held[3].1.to_string();
        assert_eq!(reason, "it waits for the older drop three, which also has three/shared");
        scene.post("next", &[("next", "next")]);
        scene.drain(&monitor).await;
        assert_eq!(scene.outcome("next"), PUBLISHED, "{held_paths}");
        give_room(&scene);
        for _ in 0..3 {
            scene.drain(&monitor).await;
        }
        assert_eq!(scene.visible("three/shared").as_deref(), Some("shares"), "{held_paths}");
        assert_eq!(scene.visible("dir/more").as_deref(), Some("shares-too"), "{held_paths}");
        assert_eq!(monitor.counts()["held"], 0);
    }
}

#[tokio::test]
async fn a_drop_does_not_wait_for_a_younger_one_that_is_held_back() {
    let mut scene = Scene::new();
    scene.post("older", &[("shared", "older")]);
    post_without_room(&mut scene, "younger", 1, "shared");
    let monitor = scene.open().unwrap();
    let report = scene.drain(&monitor).await;
    assert_eq!((scene.outcome("older"), held(&report)), (PUBLISHED, vec!["younger"]));
    give_room(&scene);
    scene.drain(&monitor).await;
    assert_eq!(scene.visible("shared").as_deref(), Some("younger"));
}

#[tokio::test]
async fn a_drop_that_cannot_be_listed_for_a_while_is_not_overtaken() {
    for kind in [ErrorKind::Other, ErrorKind::StaleNetworkFileHandle] {
        let scene = Scene::new();
        scene.post("before", &[("b", "before")]);
        scene.post("older", &[("dir/shared", "older")]);
        scene.post("younger", &[("dir/shared", "younger")]);
        for stage in ["ready", "processing"] {
            scene.fs.fail_path(format!("{POST}/tuf_{stage}_older/dir"), kind);
        }
        let monitor = scene.open().unwrap();
        let report = scene.drain(&monitor).await;
        assert_eq!((scene.outcome("before"), held(&report)), (PUBLISHED, vec!["older", "younger"]), "older ones pass");
        let reason = report.held[1].1.to_string();
        assert!(reason.contains("waits for the older drop older, whose files cannot be listed"), "{reason}");
        scene.fs.heal();
        scene.drain(&monitor).await;
        assert_eq!((scene.outcome("older"), scene.visible("dir/shared").as_deref()), (PUBLISHED, Some("younger")));
    }
}

#[tokio::test]
async fn a_file_whose_state_cannot_be_read_holds_back_only_drops_with_its_path_also_after_a_restart() {
    let scene = Scene::new();
    scene.post("unreadable", &[("dir/shared", "older")]);
    scene.post("younger", &[("dir/shared", "younger")]);
    scene.post("other", &[("other", "other")]);
    for stage in ["ready", "processing"] {
        scene.fs.fail_path(format!("{POST}/tuf_{stage}_unreadable/dir/shared"), ErrorKind::Other);
    }
    scene.run().await;
    scene.post("next", &[("next", "next")]);
    let monitor = scene.open().unwrap();
    let report = scene.drain(&monitor).await;
    assert_eq!(held(&report), ["unreadable", "younger"]);
    assert_eq!((scene.outcome("other"), scene.outcome("next")), (PUBLISHED, PUBLISHED));
    scene.fs.heal();
    scene.drain(&monitor).await;
    assert_eq!(scene.visible("dir/shared").as_deref(), Some("younger"));
}

#[tokio::test]
async fn a_drop_that_the_monitor_may_not_read_does_not_stop_the_others() {
    let scene = Scene::new();
    scene.post("denied", &[("dir/a", "a")]);
    scene.post("good", &[("b", "b")]);
    for stage in ["ready", "processing"] {
        // The mode allows it; a list of access rights does not.
        scene.fs.fail_path(format!("{POST}/tuf_{stage}_denied/dir"), ErrorKind::PermissionDenied);
    }
    scene.run().await;
    scene.post("next", &[("c", "c")]);
    let monitor = scene.open().unwrap();
    assert_eq!(held(&scene.drain(&monitor).await), ["denied"]);
    assert_eq!((scene.outcome("good"), scene.outcome("next")), (PUBLISHED, PUBLISHED));
    scene.fs.heal();
    scene.drain(&monitor).await;
    assert_eq!(scene.outcome("denied"), PUBLISHED);
}

#[tokio::test]
async fn a_drop_without_room_in_the_targets_directory_is_copied_seldom_also_on_a_busy_fleet() {
    let scene = Scene::new();
    scene.post("large", &[("large", &"x".repeat(50_000))]);
    scene.chain.books.lock().unwrap().room = Some(10_000);
    let monitor = scene.open().unwrap();
    let tries = || scene.chain.books.lock().unwrap().batches.len();
    for _ in 0..1_000 {
        monitor.run_cycle(&scene.chain).await.unwrap();
    }
    assert!(tries() <= 10, "{} copies in a thousand cycles", tries());
    // On an idle fleet time counts, to ten minutes.
    let before = tries();
    scene.clock.advance(-86_400);
    monitor.run_cycle(&scene.chain).await.unwrap();
    assert_eq!(tries(), before, "a clock that was set back is no time that passed");
    scene.clock.advance(86_400 + 3_600);
    scene.chain.books.lock().unwrap().room = None;
    monitor.run_cycle(&scene.chain).await.unwrap();
    assert_eq!(scene.outcome("large"), PUBLISHED);
}

#[tokio::test]
async fn a_drop_whose_name_is_in_use_is_not_overtaken_by_a_younger_one() {
    let scene = Scene::new();
    let monitor = scene.open().unwrap();
    scene.chain.books.lock().unwrap().room = Some(10_000);
    scene.post("X", &[("large", &"x".repeat(50_000))]);
    scene.drain(&monitor).await;
    scene.later(1);
    scene.post("X", &[("app", "1.0")]);
    scene.later(1);
    scene.post("Y", &[("app", "1.1")]);
    scene.post("other", &[("other", "other")]);
    let report = scene.drain(&monitor).await;
    assert_eq!((held(&report), scene.outcome("other")), (vec!["X", "X", "Y"], PUBLISHED));
    assert_eq!(report.held[1].1.to_string(), "an earlier drop of this name is not finished yet");
    assert_eq!(report.held[2].1.to_string(), "it waits for the older drop X, which also has app");
    scene.chain.books.lock().unwrap().room = None;
    scene.clock.advance(3_600);
    scene.drain(&monitor).await;
    assert_eq!((scene.visible("app").as_deref(), scene.outcome("Y")), (Some("1.1"), PUBLISHED));
}

#[tokio::test]
async fn of_two_drops_with_one_name_the_later_is_not_overtaken_by_a_younger_one() {
    let mut scene = Scene::new();
    scene.settings.any_case = true;
    scene.post("Q", &[("other", "other")]);
    scene.later(1);
    scene.fs.plant(format!("{POST}/TUF_READY_Q/app"), "1.0");
    scene.later(1);
    scene.post("Y", &[("app", "1.1")]);
    let monitor = scene.open().unwrap();
    scene.drain(&monitor).await;
    assert_eq!((scene.visible("app").as_deref(), scene.visible("other").as_deref()), (Some("1.1"), Some("other")));
}

#[tokio::test]
async fn a_drop_whose_processing_name_is_taken_as_it_gets_it_is_not_overtaken_by_a_younger_one() {
    let scene = Scene::new();
    scene.post("X", &[("app", "1.0")]);
    scene.later(1);
    scene.post("Y", &[("app", "1.1")]);
    let monitor = scene.open().unwrap();
    let (fs, planted) = (scene.fs.clone(), AtomicBool::new(false));
    monitor.on_progress(move || {
        if !planted.swap(true, Ordering::SeqCst) {
            fs.plant(format!("{POST}/tuf_processing_X/planted"), "planted");
        }
        true
    });
    scene.drain(&monitor).await;
    assert_eq!((scene.visible("app").as_deref(), scene.visible("planted").as_deref()), (Some("1.1"), Some("planted")));
}

#[tokio::test]
async fn no_copy_begins_for_which_there_is_certainly_no_room_any_more() {
    let mut scene = Scene::new();
    scene.settings.limits.reserve_bytes = 0;
    scene.post("first", &[("a", "a")]);
    scene.post("second", &[("b", &"x".repeat(500_000))]);
    scene.fs.set_capacity(2_000_000);
    let monitor = scene.open().unwrap();
    let (fs, filled) = (scene.fs.clone(), AtomicBool::new(false));
    monitor.on_progress(move || {
        if fs.paths().iter().any(|path| path == "/inbound/.staging_one_1/0/a") && !filled.swap(true, Ordering::SeqCst) {
            fs.plant("/inbound/other-use", vec![0; 1_300_000]);
        }
        true
    });
    let report = monitor.run_cycle(&scene.chain).await.unwrap();
    assert_eq!((scene.outcome("first"), held(&report)), (PUBLISHED, vec!["second"]));
    assert!(report.held[0].1.to_string().contains("KiB are free, of which 0 bytes are kept"), "{:?}", report.held);
    let copied: Vec<String> = scene.fs.log().into_iter().filter(|line| line.contains("/1/b")).collect();
    assert_eq!(copied, [""; 0]);
}

#[tokio::test]
async fn a_worker_that_stops_does_not_copy_the_remaining_empty_files() {
    let scene = Scene::new();
    scene.post("X", &[("a", ""), ("b", ""), ("c", "")]);
    let monitor = scene.open().unwrap();
    let (fs, stopped) = (scene.fs.clone(), Arc::new(AtomicBool::new(false)));
    let stops = Arc::clone(&stopped);
    monitor.on_progress(move || {
        let stop = fs.log().iter().any(|line| line.starts_with("create /inbound/.staging_"));
        stops.fetch_or(stop, Ordering::SeqCst);
        !stop
    });
    let error = monitor.run_cycle(&scene.chain).await.unwrap_err();
    assert!(matches!(error, CycleError::Stopping) && stopped.load(Ordering::SeqCst), "{error}");
    assert_eq!(scene.run().await.published, 1);
}
