//! Files that arrive in a drop after it was read are kept, with the reason, and not deleted with the drop.

use durable_fs::Fs;
use monitor_worker::receipt::DropOutcome;
use testkit::sim_fs::SimFs;

use crate::scene::{POST, Scene};

async fn publish_while(scene: &Scene, meanwhile: impl FnOnce(&SimFs) + Send + 'static) {
    scene.post("X", &[("dir/a", "a")]);
    let fs = scene.fs.clone();
    scene.chain.books.lock().unwrap().meanwhile = Some(Box::new(move || meanwhile(&fs)));
    assert_eq!(scene.run().await.published, 1);
    assert_eq!(scene.visible("dir/a").as_deref(), Some("a"));
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Published));
}

fn reason(scene: &Scene, dir: &str) -> String {
    let file = scene.fs.contents(format!("{POST}/{dir}/REASON.json")).expect("REASON.json");
    serde_json::from_slice::<serde_json::Value>(&file).unwrap()["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_that_arrives_after_the_drop_was_read_is_kept_with_the_reason() {
    let scene = Scene::new();
    publish_while(&scene, |fs| fs.plant(format!("{POST}/tuf_processing_X/dir/late"), "late")).await;
    assert_eq!(scene.in_post(), ["tuf_late_X"]);
    assert_eq!(scene.fs.contents(format!("{POST}/tuf_late_X/dir/late")).as_deref(), Some(b"late".as_slice()));
    let said = reason(&scene, "tuf_late_X");
    assert!(said.contains("\"dir/late\" was written after the drop was read"), "{said}");
    let monitor = scene.open().unwrap();
    monitor.recount().await.unwrap();
    assert_eq!(monitor.counts()["late"], 1);
    // As the reason says: all of it can be posted again.
    scene.fs.rename(format!("{POST}/tuf_late_X").as_ref(), format!("{POST}/tuf_ready_X2").as_ref()).unwrap();
    scene.drain(&monitor).await;
    assert_eq!(scene.visible("dir/late").as_deref(), Some("late"));
    assert_eq!(scene.in_post(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_changes_after_the_drop_was_read_is_kept_and_so_is_each_further_one() {
    let scene = Scene::new();
    for _ in 0..2 {
        publish_while(&scene, |fs| assert!(fs.corrupt(format!("{POST}/tuf_processing_X/dir/a"), "changed"))).await;
    }
    assert_eq!(scene.in_post(), ["tuf_late_X", "tuf_late_X.2"]);
    assert_eq!(scene.fs.contents(format!("{POST}/tuf_late_X.2/dir/a")).as_deref(), Some(b"changed".as_slice()));
}

#[tokio::test]
async fn the_files_of_a_directory_that_is_moved_in_after_the_drop_was_read_are_kept() {
    for below in ["", "dir/"] {
        let scene = Scene::new();
        scene.fs.plant("/stash/tree/sub/old", "old");
        scene.later(100);
        publish_while(&scene, move |fs| {
            let to = format!("{POST}/tuf_processing_X/{below}tree");
            fs.rename("/stash/tree".as_ref(), to.as_ref()).unwrap();
        })
        .await;
        assert_eq!(scene.in_post(), ["tuf_late_X"], "{below}");
        let kept = scene.fs.contents(format!("{POST}/tuf_late_X/{below}tree/sub/old"));
        assert_eq!(kept.as_deref(), Some(b"old".as_slice()));
        let said = reason(&scene, "tuf_late_X");
        assert!(said.contains(&format!("\"{below}tree/sub/old\" was written after the drop was read")), "{said}");
    }
}

#[tokio::test]
async fn a_file_that_arrives_after_the_receipt_is_kept_too() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    monitor.run_cycle(&scene.chain).await.unwrap();
    let done = scene.in_post().pop().unwrap();
    assert!(done.starts_with(".tuf_done_X."), "{done}");
    // By a process that has the directory open.
    scene.fs.plant(format!("{POST}/{done}/late"), "late");
    drop(monitor);
    scene.open().unwrap().tidy().await.unwrap();
    assert_eq!(scene.in_post(), ["tuf_late_X"]);
}

#[tokio::test]
async fn hard_links_within_a_drop_are_no_late_files_although_their_removal_is_interrupted() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    scene.fs.link(format!("{POST}/tuf_ready_X/a").as_ref(), format!("{POST}/tuf_ready_X/b").as_ref()).unwrap();
    let monitor = scene.open().unwrap();
    monitor.run_cycle(&scene.chain).await.unwrap();
    // The first name is removed, the second one is not.
    let operations = scene.fs.operations();
    for n in 3..12 {
        scene.fs.fail_at(operations + n, std::io::ErrorKind::Other);
    }
    let _ = monitor.tidy().await;
    scene.fs.heal();
    monitor.tidy().await.unwrap();
    assert_eq!(scene.in_post(), [""; 0]);
}

#[tokio::test]
async fn on_a_mount_whose_clock_ticks_every_second_a_file_that_arrives_in_the_second_of_the_reading_is_kept() {
    let scene = Scene::new();
    scene.fs.set_coarse_times(true);
    publish_while(&scene, |fs| fs.plant(format!("{POST}/tuf_processing_X/dir/late"), "late")).await;
    assert_eq!(scene.in_post(), ["tuf_late_X"]);
    assert_eq!(scene.fs.contents(format!("{POST}/tuf_late_X/dir/late")).as_deref(), Some(b"late".as_slice()));
    // One that was replaced, and one that became longer.
    publish_while(&scene, |fs| fs.plant(format!("{POST}/tuf_processing_X/dir/a"), "b")).await;
    publish_while(&scene, |fs| assert!(fs.corrupt(format!("{POST}/tuf_processing_X/dir/a"), "longer"))).await;
    assert_eq!(scene.in_post(), ["tuf_late_X", "tuf_late_X.2", "tuf_late_X.3"]);
}

#[tokio::test]
async fn on_such_a_mount_a_drop_that_is_read_in_the_second_of_its_post_is_removed_like_any_other() {
    let scene = Scene::new();
    scene.fs.set_coarse_times(true);
    publish_while(&scene, |_| {}).await;
    assert_eq!(scene.in_post(), [""; 0]);
    // Also by another process, which knows the files only from the name.
    scene.post("Y", &[("a", "a"), ("dir/b", "b")]);
    scene.open().unwrap().run_cycle(&scene.chain).await.unwrap();
    assert!(scene.in_post()[0].starts_with(".tuf_done_Y."), "{:?}", scene.in_post());
    scene.open().unwrap().tidy().await.unwrap();
    assert_eq!(scene.in_post(), [""; 0]);
}
