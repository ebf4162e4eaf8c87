//! A receipt says "published" only where the served timestamp names a snapshot that covers the drop's record.

use fleet::contract::UpdateResult;
use monitor_worker::receipt::DropOutcome;

use crate::scene::{POST, Scene};

/// A snapshot `version` that covers `record`.
fn snapshot(version: u64, record: u64) -> UpdateResult {
    UpdateResult { version, record: Some(record), ..UpdateResult::default() }
}

/// A served timestamp `version` that names `snapshot`.
fn timestamp(version: u64, snapshot: u64) -> UpdateResult {
    UpdateResult { version, snapshot: Some(snapshot), ..UpdateResult::default() }
}

fn waited(scene: &Scene) -> Vec<String> {
    std::mem::take(&mut scene.chain.books.lock().unwrap().waited)
}

/// A scene with one release, whose second the roles are about to publish.
async fn second_release() -> Scene {
    let scene = Scene::new();
    scene.post("first", &[("a", "1")]);
    scene.run().await;
    scene.post("second", &[("b", "2")]);
    scene
}

#[tokio::test]
async fn a_timestamp_that_names_the_snapshot_before_is_no_publication() {
    let scene = second_release().await;
    // The timestamp-worker does not find the newest snapshot, and says success.
    scene.chain.books.lock().unwrap().timestamp_answers = vec![timestamp(2, 1), timestamp(1, 1)];
    scene.run().await;
    let said = waited(&scene);
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], "the served timestamp 1 names snapshot 1, and the batch is in snapshot 2");
    let receipt = scene.receipt("second").unwrap();
    assert_eq!((receipt.record, receipt.snapshot_version, receipt.timestamp_version), (Some(2), Some(2), Some(2)));
    assert_eq!(scene.visible("b").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_snapshot_that_does_not_cover_the_record_is_no_publication() {
    let scene = second_release().await;
    scene.chain.books.lock().unwrap().snapshot_answers = vec![snapshot(1, 1)];
    scene.run().await;
    let said = waited(&scene);
    assert_eq!(said, ["snapshot 1 covers the commit log up to record 1, and the batch is in record 2"]);
    assert_eq!(scene.receipt("second").unwrap().snapshot_version, Some(2));
}

#[tokio::test]
async fn the_receipt_has_the_versions_that_clients_are_served() {
    let scene = second_release().await;
    // Another process published more in between: its snapshot is shown, which need not cover the record.
    {
        let mut books = scene.chain.books.lock().unwrap();
        books.snapshot_answers = vec![snapshot(7, 2), snapshot(2, 2)];
        books.timestamp_answers = vec![timestamp(9, 7); 2];
    }
    scene.run().await;
    assert_eq!(waited(&scene), ["the served timestamp 9 names snapshot 7, and the batch is in snapshot 2"]);
    let receipt = scene.receipt("second").unwrap();
    assert_eq!((receipt.snapshot_version, receipt.timestamp_version), (Some(7), Some(9)));
}

#[tokio::test]
async fn a_drop_of_an_earlier_record_is_published_only_where_clients_see_that_record() {
    let scene = second_release().await;
    let monitor = scene.open().unwrap();
    // Committed, and then the chain ends.
    scene.chain.books.lock().unwrap().snapshot_answers = vec![snapshot(1, 1); 20];
    monitor.run_cycle(&scene.chain).await.unwrap_err();
    assert_eq!(waited(&scene).len(), 10);
    assert_eq!(scene.receipt("second"), None);
    // The answer "added earlier" is no better ground.
    monitor.run_cycle(&scene.chain).await.unwrap_err();
    assert_eq!((waited(&scene).len(), scene.receipt("second")), (10, None));
    assert!(scene.in_post().contains(&"tuf_processing_second".to_owned()), "{:?} in {POST}", scene.in_post());
    scene.chain.books.lock().unwrap().snapshot_answers.clear();
    scene.drain(&monitor).await;
    assert_eq!(scene.receipt("second").unwrap().record, Some(2));
    assert_eq!(scene.chain.books.lock().unwrap().order, ["first", "second"]);
}

#[tokio::test]
async fn a_worker_that_does_not_say_what_clients_see_has_to_be_upgraded() {
    let old = UpdateResult { version: 5, changed: true, ..UpdateResult::default() };
    for (worker, snapshots, timestamps, names_no_record) in [
        ("targets-worker", vec![], vec![], true),
        ("snapshot-worker", vec![old.clone(); 20], vec![], false),
        ("timestamp-worker", vec![], vec![old.clone(); 20], false),
    ] {
        let scene = second_release().await;
        {
            let mut books = scene.chain.books.lock().unwrap();
            books.snapshot_answers = snapshots;
            books.timestamp_answers = timestamps;
            books.names_no_record = names_no_record;
        }
        let monitor = scene.open().unwrap();
        monitor.run_cycle(&scene.chain).await.unwrap_err();
        let said = waited(&scene);
        assert!(said.iter().all(|reason| reason.ends_with(&format!("upgrade the {worker}"))), "{said:?}");
        assert_eq!(scene.receipt("second"), None);
        {
            let mut books = scene.chain.books.lock().unwrap();
            books.snapshot_answers.clear();
            books.timestamp_answers.clear();
            books.names_no_record = false;
        }
        scene.drain(&monitor).await;
        assert_eq!(scene.outcome("second"), Some(DropOutcome::Published));
    }
}
