//! Files of a newer version of the monitor are refused with the advice to upgrade, and none is lost.

use monitor_worker::receipt::DropOutcome;

use crate::scene::{POST, STATE, Scene};

const NEWER: &str = r#"{"format":9,"name":{"of":"another kind"}}"#;

fn refused(error: &impl std::fmt::Display) {
    let error = error.to_string();
    assert!(error.contains("format 9") && error.contains("upgrade the monitor-worker"), "{error}");
}

#[test]
fn a_pause_switch_of_a_newer_version_is_refused() {
    let scene = Scene::new();
    scene.fs.plant(format!("{STATE}/pause.json"), NEWER);
    refused(&scene.open().unwrap_err());
}

#[test]
fn a_rejection_noted_by_a_newer_version_is_refused() {
    let scene = Scene::new();
    scene.fs.plant(format!("{STATE}/rejections/one.json"), NEWER);
    refused(&scene.open().unwrap_err());
}

#[tokio::test]
async fn a_drop_with_a_receipt_of_a_newer_version_waits_for_the_upgrade() {
    let scene = Scene::new();
    scene.post("one", &[("a", "1")]);
    scene.run().await;
    let path = scene.fs.files().into_keys().find(|path| path.starts_with(format!("{STATE}/receipts"))).unwrap();
    let receipt = scene.fs.contents(&path).unwrap();
    scene.fs.plant(&path, NEWER);
    scene.post("one", &[("a", "1")]);
    let monitor = scene.open().unwrap();
    refused(&monitor.run_cycle(&scene.chain).await.unwrap_err());
    assert!(scene.in_post().iter().any(|name| name.ends_with("_one")), "the drop is still there");
    scene.fs.plant(&path, receipt);
    scene.drain(&monitor).await;
    assert_eq!(scene.outcome("one"), Some(DropOutcome::Published));
    assert!(scene.fs.contents(format!("{POST}/tuf_ready_one/a")).is_none());
}
