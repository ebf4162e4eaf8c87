//! Clocks that are wrong: drops are taken in all the same, and nothing young is taken for old.

use std::time::Duration;

use monitor_worker::receipt::DropOutcome;

use crate::scene::{POST, START, Scene};

const YEAR: i64 = 365 * 86_400;

#[tokio::test]
async fn a_clock_that_runs_backwards_loses_no_drop() {
    let scene = Scene::new();
    scene.post("before", &[("same", "1")]);
    let monitor = scene.open().unwrap();
    assert_eq!(scene.drain(&monitor).await.published, 1);
    // Ours first, then the one drops get their times from.
    for (ours, theirs) in [(START - YEAR, scene.fs.time()), (START - YEAR, START - 2 * YEAR)] {
        scene.clock.set(ours);
        scene.fs.set_time(theirs);
        scene.post("after", &[("same", &ours.to_string()), ("more", &theirs.to_string())]);
        assert_eq!(scene.drain(&monitor).await.published, 1);
        assert_eq!(monitor.oldest_waiting(), Duration::ZERO, "an age is never negative");
        assert_eq!(scene.outcome("after"), Some(DropOutcome::Published));
        assert_eq!(scene.visible("same"), Some(ours.to_string()));
    }
}

#[tokio::test]
async fn a_clock_years_ahead_loses_no_drop_and_takes_nothing_for_abandoned() {
    let mut scene = Scene::new();
    scene.settings.abandoned_after = Some(Duration::from_secs(3_600));
    scene.fs.plant(format!("{POST}/tuf_tmp_live/file"), "half");
    scene.post("one", &[("one", "1")]);
    scene.run().await;
    let receipt = scene.receipt("one");
    assert!(receipt.is_some());
    scene.fs.plant("/inbound/.staging_other_7/0/a", "another monitor is at it");
    // Ours, and then the mounts' in its place.
    scene.clock.set(START + 30 * YEAR);
    scene.post("two", &[("two", "2")]);
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_live"]);
    assert_eq!(scene.in_inbound(), [".staging_other_7"]);
    assert_eq!(scene.receipt("one"), receipt);
    assert_eq!(scene.outcome("two"), Some(DropOutcome::Published));
    scene.clock.set(START + 60);
    scene.fs.set_time(START + 30 * YEAR);
    scene.post("three", &[("three", "3")]);
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_live"]);
    assert_eq!(scene.receipt("one"), receipt);
    assert_eq!(scene.outcome("three"), Some(DropOutcome::Published));
}
