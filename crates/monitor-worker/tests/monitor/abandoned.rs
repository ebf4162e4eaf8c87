//! `tuf_tmp_*` whose producer never came back.

use std::time::Duration;

use durable_fs::Fs;

use crate::scene::{POST, Scene};

const HOUR: i64 = 3_600;

fn begun() -> Scene {
    let scene = Scene::new();
    scene.fs.plant_dir(format!("{POST}/tuf_tmp_x"));
    scene.fs.plant(format!("{POST}/tuf_tmp_x/dir/file"), "half");
    scene
}

#[tokio::test]
async fn an_unfinished_drop_is_left_alone_unless_configured() {
    let scene = begun();
    scene.later(1_000 * HOUR);
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_x"]);
}

#[tokio::test]
async fn an_abandoned_drop_is_removed_when_configured_and_a_live_one_is_not() {
    let mut scene = begun();
    scene.settings.abandoned_after = Some(Duration::from_secs(10 * 3_600));
    scene.later(9 * HOUR);
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_x"], "not old enough");
    // Deep inside it is still written to.
    scene.fs.plant(format!("{POST}/tuf_tmp_x/dir/more"), "half");
    scene.later(3 * HOUR);
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_x"], "a producer is at work");
    scene.later(18 * HOUR);
    scene.run().await;
    assert_eq!(scene.in_post(), [""; 0]);
}

#[tokio::test]
async fn a_drop_whose_files_keep_old_modification_times_is_not_abandoned() {
    let mut scene = begun();
    scene.settings.abandoned_after = Some(Duration::from_secs(10 * 3_600));
    scene.later(20 * HOUR);
    // `rsync -a` is at work: it sets the times of the original.
    scene.fs.plant(format!("{POST}/tuf_tmp_live/dir/file"), "half");
    for path in ["tuf_tmp_live", "tuf_tmp_live/dir", "tuf_tmp_live/dir/file"] {
        scene
            .fs
            .set_mtime(std::path::Path::new(&format!("{POST}/{path}")), crate::scene::START - 1_000 * HOUR)
            .unwrap();
    }
    scene.run().await;
    assert_eq!(scene.in_post(), ["tuf_tmp_live"], "only the other one is abandoned");
}
