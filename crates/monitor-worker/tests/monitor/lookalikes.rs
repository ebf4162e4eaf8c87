//! Entries of the drop directory that look like drops: each is counted, named and given a reason.

use monitor_worker::receipt::DropOutcome;

use crate::scene::{POST, Scene};

#[tokio::test]
async fn what_looks_like_a_drop_and_is_none_is_counted_and_named() {
    let scene = Scene::new();
    scene.fs.plant(format!("{POST}/tuf_ready_file"), "not a directory");
    scene.fs.plant_symlink(format!("{POST}/tuf_ready_link"), "/post/tuf_tmp_X");
    scene.fs.plant_fifo(format!("{POST}/tuf_processing_pipe"));
    scene.fs.plant(format!("{POST}/TUF_READY_X/a"), "a");
    scene.fs.plant(format!("{POST}/Tuf_Processing_Y/a"), "a");
    scene.fs.plant(format!("{POST}/tuf_tmp_unfinished/a"), "a");
    let monitor = scene.open().unwrap();
    let report = monitor.run_cycle(&scene.chain).await.unwrap();
    assert_eq!(monitor.counts()["ignored"], 5);
    let said: Vec<(String, String)> =
        monitor.waiting().into_iter().map(|entry| (entry.name, entry.reason.unwrap())).collect();
    assert_eq!(said.len(), 5);
    for (name, reason) in [
        ("TUF_READY_X", "prefix_case_insensitive"),
        ("Tuf_Processing_Y", "prefix_case_insensitive"),
        ("tuf_processing_pipe", "it is a special file"),
        ("tuf_ready_file", "it is a file"),
        ("tuf_ready_link", "it is a symbolic link"),
    ] {
        assert!(said.iter().any(|(entry, text)| entry == name && text.contains(reason)), "{name}: {said:?}");
    }
    assert_eq!((report.ignored.len(), report.waiting, report.more), (5, 0, false));
}

#[tokio::test]
async fn a_file_with_the_processing_name_of_a_drop_holds_back_that_drop_and_says_so() {
    let scene = Scene::new();
    scene.fs.plant(format!("{POST}/tuf_processing_X"), "a stray file");
    scene.post("X", &[("x", "x")]);
    scene.post("Y", &[("y", "y")]);
    let monitor = scene.open().unwrap();
    // Ends: it does not try again and again.
    let report = scene.drain(&monitor).await;
    assert_eq!((report.published, report.waiting), (1, 1));
    assert_eq!(report.held[0].0.as_str(), "X");
    assert!(report.held[0].1.to_string().starts_with("tuf_processing_X has the name"), "{:?}", report.held);
    let waiting = monitor.waiting();
    assert!(waiting.iter().any(|drop| drop.name == "X" && drop.reason.is_some()), "{waiting:?}");
    assert_eq!(scene.outcome("Y"), Some(DropOutcome::Published));
    let stray = std::path::Path::new(POST).join("tuf_processing_X");
    durable_fs::Fs::remove_file(&scene.fs, &stray).unwrap();
    assert_eq!(scene.drain(&monitor).await.published, 1);
}

#[tokio::test]
async fn a_processing_directory_made_by_a_producer_is_not_published_while_intake_is_paused() {
    let scene = Scene::new();
    let monitor = scene.open().unwrap();
    monitor.set_paused(true, Some("maintenance".into())).await.unwrap();
    scene.fs.plant(format!("{POST}/tuf_processing_X/a"), "a");
    let report = scene.drain(&monitor).await;
    assert_eq!((report.published, report.waiting), (0, 1));
    assert!(report.held[0].1.to_string().contains("intake is paused"), "{:?}", report.held);
    assert_eq!(scene.receipt("X"), None);
    monitor.set_paused(false, None).await.unwrap();
    assert_eq!(scene.drain(&monitor).await.published, 1);
}

#[tokio::test]
async fn a_drop_that_this_process_took_in_is_finished_while_intake_is_paused() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    // Taken in, and its batch was discarded.
    scene.chain.books.lock().unwrap().failures.push(monitor_worker::ChainError::BatchMissing("batch_0".into()));
    monitor.run_cycle(&scene.chain).await.unwrap_err();
    monitor.set_paused(true, None).await.unwrap();
    assert_eq!(scene.drain(&monitor).await.published, 1);
}
