//! Which drops are rejected, for which reason, and which faults never reject one.

use std::io::ErrorKind;
use std::path::Path;

use durable_fs::Fs;
use monitor_worker::ChainError;
use monitor_worker::receipt::DropOutcome;
use testkit::sim_fs::SimFs;

use crate::scene::{INBOUND, POST, Scene};

const SUM_OF_A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

async fn rejected(prepare: impl FnOnce(&Scene)) -> String {
    let scene = Scene::new();
    prepare(&scene);
    scene.post("good", &[("good.txt", "good")]);
    let report = scene.run().await;
    assert_eq!((report.published, report.rejected), (1, 1), "the rest goes on");
    assert_eq!(scene.visible("good.txt").as_deref(), Some("good"));
    let reason = scene.reason("X");
    let file = scene.fs.contents(format!("{POST}/tuf_rejected_X/REASON.json")).expect("REASON.json");
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file["reason"], reason.as_str());
    assert_eq!(file["name"], "X");
    reason
}

#[tokio::test]
async fn a_symbolic_link_is_named() {
    let reason = rejected(|scene| {
        scene.post("X", &[("a", "a")]);
        scene.fs.plant_symlink(format!("{POST}/tuf_ready_X/sub/link"), "../a");
    })
    .await;
    assert!(reason.contains("\"sub/link\" is a symbolic link"), "{reason}");
}

#[tokio::test]
async fn a_fifo_is_named() {
    let reason = rejected(|scene| {
        scene.post("X", &[("a", "a")]);
        scene.fs.plant_fifo(format!("{POST}/tuf_ready_X/pipe"));
    })
    .await;
    assert!(reason.contains("\"pipe\" is neither"), "{reason}");
}

#[tokio::test]
async fn an_empty_drop_is_rejected() {
    assert_eq!(rejected(|scene| scene.post("X", &[])).await, "the drop holds no files");
}

#[tokio::test]
async fn a_drop_with_only_a_manifest_is_rejected() {
    assert_eq!(rejected(|scene| scene.post("X", &[("SHA256SUMS", "")])).await, "the drop holds no files");
}

#[tokio::test]
async fn names_that_cannot_be_target_paths_are_rejected() {
    for name in ["back\\slash", "control\u{7}", "not-nfc-e\u{301}"] {
        let reason = rejected(|scene| scene.post("X", &[(name, "a")])).await;
        assert!(reason.starts_with(&format!("{name:?}")), "{reason}");
    }
}

#[tokio::test]
async fn files_and_manifest_must_agree_exactly() {
    for (manifest, part) in [
        (format!("{SUM_OF_A}  a\n"), "\"b\" is not listed"),
        (format!("{SUM_OF_A}  a\n{SUM_OF_A}  b\n"), "\"b\" does not match"),
        ("no manifest\n".to_owned(), "line 1 is malformed"),
    ] {
        let reason = rejected(|scene| scene.post("X", &[("a", "a"), ("b", "b"), ("SHA256SUMS", &manifest)])).await;
        assert!(reason.contains(part), "{reason}");
    }
    let listed = format!("{SUM_OF_A}  a\n{SUM_OF_A}  missing\n");
    let reason = rejected(|scene| scene.post("X", &[("a", "a"), ("SHA256SUMS", &listed)])).await;
    assert!(reason.contains("\"missing\" is listed in SHA256SUMS, but missing"), "{reason}");
}

#[tokio::test]
async fn a_manifest_that_agrees_is_not_a_target() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a"), ("SHA256SUMS", &format!("{SUM_OF_A} *./a\n")), ("sub/SHA256SUMS", "x")]);
    scene.run().await;
    // The manifest lists every file, a file of its name further down included.
    assert!(scene.reason("X").contains("\"sub/SHA256SUMS\" is not listed"));
    scene.post("Y", &[("a", "a"), ("SHA256SUMS", &format!("{SUM_OF_A} *./a\n"))]);
    scene.run().await;
    assert_eq!(scene.outcome("Y"), Some(DropOutcome::Published));
    assert_eq!(scene.visible("SHA256SUMS"), None);
}

#[tokio::test]
async fn too_many_files_are_rejected() {
    let mut scene = Scene::new();
    scene.settings.limits.files_per_drop = 2;
    scene.post("X", &[("a", "a"), ("b", "b"), ("c", "c")]);
    scene.run().await;
    assert!(scene.reason("X").contains("more than 2 files"));
}

#[tokio::test]
async fn a_drop_whose_paths_are_too_long_all_together_or_too_deep_is_rejected() {
    let mut scene = Scene::new();
    scene.settings.limits.path_bytes_per_drop = 20;
    scene.post("X", &[("directory/a", "a"), ("directory/b", "b")]);
    scene.post("Y", &[("directory/a", "a")]);
    scene.run().await;
    assert!(scene.reason("X").contains("more than 20 bytes"), "{}", scene.reason("X"));
    assert_eq!(scene.outcome("Y"), Some(DropOutcome::Published));
    let mut scene = Scene::new();
    scene.settings.limits.depth_per_drop = 2;
    scene.post("X", &[("a/b/c/d", "deep")]);
    scene.post("Y", &[("a/b/c", "deep")]);
    scene.run().await;
    assert_eq!(scene.reason("X"), "\"a/b/c\" is more than 2 directories deep");
    assert_eq!(scene.outcome("Y"), Some(DropOutcome::Published));
}

#[tokio::test]
async fn a_drop_with_too_many_files_is_rejected_and_not_held_back_for_its_size() {
    let mut scene = Scene::new();
    scene.settings.limits.reserve_bytes = 0;
    scene.settings.limits.files_per_drop = 3;
    let large = "x".repeat(30_000);
    scene.post("X", &[("a", &large), ("b", &large), ("c", &large), ("d", &large)]);
    scene.post("Y", &[("y", "y")]);
    scene.fs.set_capacity(200_000);
    scene.run().await;
    assert!(scene.reason("X").contains("more than 3 files"), "{}", scene.reason("X"));
    assert_eq!(scene.outcome("Y"), Some(DropOutcome::Published));
}

/// Whether the file `a` of the first drop is being copied.
fn is_copying(fs: &SimFs) -> bool {
    fs.paths().iter().any(|path| path.starts_with("/inbound/.staging_") && path.ends_with("/0/a"))
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_tried_again_and_then_rejected() {
    for (longer, said) in [(true, "\"a\" was still being written"), (false, "\"a\" was shortened while it was read")] {
        let scene = Scene::new();
        scene.post("X", &[("a", &"x".repeat(1_000_000))]);
        let monitor = scene.open().unwrap();
        let fs = scene.fs.clone();
        monitor.on_progress(move || {
            // Called between two reads, and before.
            if !is_copying(&fs) {
                return true;
            }
            let path = format!("{POST}/tuf_processing_X/a");
            let length = fs.contents(&path).map_or(0, |bytes| bytes.len());
            let length = if longer { length + 600_000 } else { length.saturating_sub(100_000) };
            fs.corrupt(path, vec![b'y'; length]);
            true
        });
        for _ in 0..2 {
            let report = monitor.run_cycle(&scene.chain).await.unwrap();
            assert_eq!((report.published, report.rejected, report.waiting), (0, 0, 1));
            assert!(report.held[0].1.to_string().contains(said), "{:?}", report.held);
        }
        scene.post("good", &[("b", "b")]);
        assert_eq!(monitor.run_cycle(&scene.chain).await.unwrap().rejected, 1, "not for ever");
        assert!(scene.reason("X").contains(said), "{}", scene.reason("X"));
        scene.drain(&monitor).await;
        assert_eq!(scene.outcome("good"), Some(DropOutcome::Published));
        assert_eq!(scene.visible("a"), None);
    }
}

#[tokio::test]
async fn a_file_that_changed_once_while_it_was_read_is_published_as_it_is_then() {
    let scene = Scene::new();
    scene.post("X", &[("a", "short")]);
    let monitor = scene.open().unwrap();
    let (fs, changed) = (scene.fs.clone(), std::sync::atomic::AtomicBool::new(false));
    monitor.on_progress(move || {
        if is_copying(&fs) && !changed.swap(true, std::sync::atomic::Ordering::SeqCst) {
            fs.corrupt(format!("{POST}/tuf_processing_X/a"), "longer than before");
        }
        true
    });
    assert_eq!(monitor.run_cycle(&scene.chain).await.unwrap().held.len(), 1);
    assert_eq!(scene.drain(&monitor).await.published, 1);
    assert_eq!(scene.visible("a").as_deref(), Some("longer than before"));
}

#[tokio::test]
async fn a_name_that_cannot_be_used_gets_a_receipt_under_another() {
    let scene = Scene::new();
    let long = "x".repeat(201);
    scene.post(&long, &[("a", "a")]);
    scene.post("con\u{7}trol", &[("a", "a")]);
    let report = scene.run().await;
    assert_eq!(report.rejected, 2);
    let names = scene.in_post();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("tuf_rejected_")), "{names:?}");
}

#[tokio::test]
async fn a_rejected_drop_can_be_posted_again() {
    let scene = Scene::new();
    scene.post("X", &[("a", "BAD")]);
    scene.run().await;
    assert!(scene.reason("X").contains("is bad"));
    scene.post("X", &[("a", "good")]);
    scene.run().await;
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Published));
    scene.post("X", &[("a", "BAD again")]);
    scene.run().await;
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Rejected));
    assert_eq!(scene.in_post(), ["tuf_rejected_X", "tuf_rejected_X.2"]);
    assert_eq!(scene.visible("a").as_deref(), Some("good"));
}

#[tokio::test]
async fn a_rejected_directory_can_be_renamed_back_to_ready() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    scene.fs.plant_symlink(format!("{POST}/tuf_ready_X/link"), "a");
    scene.run().await;
    scene.fs.remove_file(Path::new("/post/tuf_rejected_X/link")).unwrap();
    scene.fs.rename(Path::new("/post/tuf_rejected_X"), Path::new("/post/tuf_ready_X")).unwrap();
    scene.run().await;
    assert_eq!(scene.outcome("X"), Some(DropOutcome::Published));
    assert_eq!(scene.visible("REASON.json"), None);
    assert_eq!(scene.receipt("X").unwrap().targets, 1);
}

#[tokio::test]
async fn a_producers_own_reason_json_is_a_target_and_is_left_alone() {
    let scene = Scene::new();
    scene.post("good", &[("REASON.json", "{}")]);
    scene.post("bad", &[("REASON.json", "mine"), ("a", "BAD")]);
    scene.run().await;
    assert_eq!(scene.visible("REASON.json").as_deref(), Some("{}"));
    let kept = scene.fs.contents(format!("{POST}/tuf_rejected_bad/REASON.json")).unwrap();
    assert_eq!(kept, b"mine");
    assert!(scene.reason("bad").contains("is bad"));
}

#[tokio::test]
async fn a_fault_of_the_machine_rejects_nothing() {
    for kind in [ErrorKind::Other, ErrorKind::StaleNetworkFileHandle, ErrorKind::StorageFull] {
        let scene = Scene::new();
        scene.post("unreadable", &[("a", "a")]);
        scene.post("good", &[("b", "b")]);
        scene.fs.fail_path(format!("{POST}/tuf_processing_unreadable/a"), kind);
        let monitor = scene.open().unwrap();
        let report = scene.drain(&monitor).await;
        assert_eq!((report.published, report.rejected, report.waiting), (1, 0, 1), "others pass");
        assert_eq!(report.held[0].0.as_str(), "unreadable");
        scene.post("later", &[("c", "c")]);
        assert_eq!(scene.drain(&monitor).await.published, 1, "later ones pass as well");
        scene.fs.heal();
        assert_eq!(scene.drain(&monitor).await.published, 1);
        assert_eq!(scene.in_post(), Vec::<String>::new());
    }
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    scene.fs.fail_path(INBOUND, ErrorKind::Other);
    assert!(monitor.run_cycle(&scene.chain).await.is_err());
    scene.fs.heal();
    assert_eq!(scene.drain(&monitor).await.published, 1);
}

#[tokio::test]
async fn an_unavailable_chain_rejects_nothing() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let monitor = scene.open().unwrap();
    for failure in [ChainError::BatchMissing("gone".into()), ChainError::Stopped("add-targets")] {
        scene.chain.books.lock().unwrap().failures.push(failure);
        assert!(monitor.run_cycle(&scene.chain).await.is_err());
    }
    assert_eq!(scene.in_post(), ["tuf_processing_X"]);
    assert_eq!(scene.drain(&monitor).await.published, 1);
}

#[tokio::test]
async fn a_failing_batch_is_halved_until_the_bad_drop_is_alone() {
    let scene = Scene::new();
    for n in 0..20 {
        let text = if n == 13 { "POISON" } else { "fine" };
        scene.post(&format!("d{n:02}"), &[(&format!("f{n:02}"), text)]);
    }
    let report = scene.run().await;
    assert_eq!((report.taken, report.published, report.rejected), (20, 19, 1));
    assert_eq!(scene.reason("d13"), "the poison works");
    let books = scene.chain.books.lock().unwrap();
    assert_eq!(books.visible.len(), 19);
    let last_alone = books.batches.iter().filter(|n| **n == 1).count();
    assert!(last_alone >= 3, "the drop was tried {:?}", books.batches);
}

#[tokio::test]
async fn a_failure_that_passes_rejects_nothing() {
    let scene = Scene::new();
    scene.post("X", &[("a", "a")]);
    let failed = ChainError::Failed { task: "add-targets", reason: "once".into() };
    scene.chain.books.lock().unwrap().failures.extend([failed.clone(), failed]);
    assert_eq!(scene.run().await.published, 1);
}
