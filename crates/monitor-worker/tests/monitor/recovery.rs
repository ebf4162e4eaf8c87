//! Stopped at any operation, the next start finishes every drop as exactly one of published or rejected.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use monitor_worker::receipt::DropOutcome;
use testkit::sim_fs::CrashMode;

use crate::scene::{POST, Scene};

const GOOD: &[(&str, &str)] = &[("p/a.txt", "a"), ("p/q/b.txt", "bb")];

/// Two drops that are published, one the monitor rejects, one the targets-worker rejects.
fn three_kinds() -> Scene {
    let scene = Scene::new();
    scene.post("one", &[("one.txt", "1")]);
    scene.post("two", GOOD);
    scene.post("link", &[("fine.txt", "fine")]);
    scene.fs.plant_symlink(format!("{POST}/tuf_ready_link/link"), "/etc/passwd");
    scene.post("bad", &[("bad.txt", "BAD")]);
    scene
}

fn outcomes(scene: &Scene) -> BTreeMap<&'static str, DropOutcome> {
    ["one", "two", "link", "bad"].into_iter().filter_map(|name| Some((name, scene.outcome(name)?))).collect()
}

fn check(scene: &Scene, at: &str) {
    let expected = BTreeMap::from([
        ("one", DropOutcome::Published),
        ("two", DropOutcome::Published),
        ("link", DropOutcome::Rejected),
        ("bad", DropOutcome::Rejected),
    ]);
    assert_eq!(outcomes(scene), expected, "{at}");
    assert_eq!(scene.in_post(), ["tuf_rejected_bad", "tuf_rejected_link"], "{at}");
    assert_eq!(scene.in_inbound(), Vec::<String>::new(), "{at}");
    let books = scene.chain.books.lock().unwrap();
    let mut order = books.order.clone();
    order.sort();
    assert_eq!(order, ["one", "two"], "published once each: {at}");
    let visible: Vec<_> = books.visible.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    assert_eq!(visible, [("one.txt", b"1".as_slice()), ("p/a.txt", b"a"), ("p/q/b.txt", b"bb")], "{at}");
    for kept in ["tuf_rejected_link/fine.txt", "tuf_rejected_bad/bad.txt"] {
        assert!(scene.fs.contents(format!("{POST}/{kept}")).is_some(), "{kept}: {at}");
    }
    for name in ["link", "bad"] {
        let reason = scene.fs.contents(format!("{POST}/tuf_rejected_{name}/REASON.json"));
        assert!(reason.is_some_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok()), "{at}");
    }
}

async fn operations() -> usize {
    let scene = three_kinds();
    scene.run().await;
    check(&scene, "undisturbed");
    scene.fs.operations()
}

/// Runs until everything is done or the machine stops.
async fn try_run(scene: &Scene) {
    let Ok(monitor) = scene.open() else { return };
    for _ in 0..10 {
        match monitor.run_cycle(&scene.chain).await {
            Ok(report) if report.more => {}
            Ok(_) => break,
            Err(_) if scene.fs.is_stopped() => return,
            Err(_) => {}
        }
    }
    let _ = monitor.tidy().await;
}

#[tokio::test]
async fn stopped_at_every_operation_every_drop_ends_once_and_whole() {
    let operations = operations().await;
    let mut points = 0;
    for n in 0..operations {
        for mode in CrashMode::all(n as u64) {
            for after in [false, true] {
                let scene = three_kinds();
                if after {
                    scene.fs.stop_after(n)
                } else {
                    scene.fs.stop_at(n)
                };
                try_run(&scene).await;
                assert!(scene.fs.is_stopped(), "operation {n} is reached");
                let said = outcomes(&scene);
                let doing = scene.fs.log().last().cloned();
                scene.fs.crash(mode);
                scene.run().await;
                let at = format!("stopped at {n} ({doing:?}, after: {after}), {mode:?}");
                check(&scene, &at);
                let now = outcomes(&scene);
                assert!(said.iter().all(|(name, outcome)| now[name] == *outcome), "what was said holds: {at}");
                points += 1;
            }
        }
    }
    println!("{points} cut points over {operations} operations");
}

#[tokio::test]
async fn stopped_twice_the_third_start_finishes() {
    let operations = operations().await;
    for n in (0..operations).step_by(3) {
        for second in [2, 7, 15, 24, 40] {
            let scene = three_kinds();
            scene.fs.stop_at(n);
            try_run(&scene).await;
            scene.fs.crash(CrashMode::Mixed((n * 1000 + second) as u64));
            scene.fs.stop_at(second);
            try_run(&scene).await;
            scene.fs.crash(CrashMode::Mixed((n * 1000 + second + 1) as u64));
            scene.run().await;
            check(&scene, &format!("stopped at {n}, then at {second}"));
        }
    }
}

/// Runs cycles whatever their outcome, until leftovers are old enough to be collected.
async fn run_until_all_is_collected(scene: &Scene) {
    // If the operation on the state directory fails, the process is restarted.
    let monitor = scene.open().or_else(|_| scene.open()).expect("open");
    for _ in 0..2 {
        for _ in 0..5 {
            let _ = monitor.run_cycle(&scene.chain).await;
            let _ = monitor.tidy().await;
        }
        // Directories that could not be removed are collected by age.
        scene.later(200_000);
    }
}

#[tokio::test]
async fn an_operation_that_fails_once_delays_and_loses_nothing() {
    let operations = operations().await;
    for kind in
        [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::StaleNetworkFileHandle, ErrorKind::PermissionDenied]
    {
        for n in 0..operations {
            let scene = three_kinds();
            scene.fs.fail_at(n, kind);
            let doing = format!("operation {n} fails with {kind:?}");
            run_until_all_is_collected(&scene).await;
            check_but_reasons(&scene, &doing);
        }
    }
}

#[tokio::test]
async fn an_operation_executed_twice_changes_nothing() {
    let operations = operations().await;
    for n in 0..operations {
        let scene = three_kinds();
        scene.fs.repeat_at(n);
        run_until_all_is_collected(&scene).await;
        check_but_reasons(&scene, &format!("operation {n} is executed twice"));
    }
}

/// A `REASON.json` that could not be written is the one thing that may be missing: the receipt has the reason.
fn check_but_reasons(scene: &Scene, at: &str) {
    for name in ["link", "bad"] {
        let path = format!("{POST}/tuf_rejected_{name}/REASON.json");
        let whole = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        if !scene.fs.contents(&path).is_some_and(whole) {
            scene.fs.plant(&path, "{}");
        }
    }
    check(scene, at);
}

#[tokio::test]
async fn a_process_that_dies_between_signing_and_receipts_publishes_once() {
    let scene = three_kinds();
    let monitor = scene.open().unwrap();
    scene.fs.fail_path(format!("{}/receipts", crate::scene::STATE), ErrorKind::Other);
    let _ = monitor.run_cycle(&scene.chain).await;
    drop(monitor);
    scene.fs.heal();
    scene.run().await;
    check(&scene, "died before the receipts");
}

#[test]
fn a_state_volume_that_is_not_there_is_not_taken_for_an_empty_one() {
    let mut scene = Scene::new();
    scene.settings.state = "/volume/monitor".into();
    let error = scene.open().unwrap_err();
    assert!(error.to_string().starts_with("/volume: ") && error.to_string().contains("mount or create it"), "{error}");
    assert!(!scene.fs.paths().iter().any(|path| path.starts_with("/volume")), "it was made");
    scene.fs.plant_dir("/volume");
    scene.open().unwrap();
}
