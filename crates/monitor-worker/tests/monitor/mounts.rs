//! Mounts on which nothing can be written any more.

use monitor_worker::receipt::DropOutcome;

use crate::scene::{INBOUND, POST, STATE, Scene};

#[tokio::test]
async fn a_read_only_mount_rejects_nothing_and_what_waits_is_published_when_it_heals() {
    for mount in [POST, INBOUND, STATE] {
        let scene = Scene::new();
        scene.post("first", &[("a", "a")]);
        let monitor = scene.open().unwrap();
        scene.drain(&monitor).await;
        scene.post("second", &[("b", "b")]);
        scene.post("bad", &[]);
        scene.fs.refuse_writes(mount, std::io::ErrorKind::ReadOnlyFilesystem);
        for _ in 0..5 {
            let error = monitor.run_cycle(&scene.chain).await.unwrap_err().to_string();
            assert!(error.contains("read-only"), "{mount}: {error}");
            let _ = monitor.tidy().await;
        }
        assert_eq!(scene.receipt("second"), None, "{mount}: not rejected, and not said to be published");
        scene.fs.heal();
        scene.drain(&monitor).await;
        assert_eq!(scene.outcome("second"), Some(DropOutcome::Published), "{mount}");
        assert_eq!(scene.outcome("bad"), Some(DropOutcome::Rejected), "{mount}");
        assert_eq!(scene.visible("b").as_deref(), Some("b"));
    }
}
