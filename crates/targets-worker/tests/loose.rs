//! `add-targets` for loose files: what a task may name, and what a repeated task is answered; what the role reports.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::batch::{BATCH_FILE, BATCH_FORMAT, Batch, BatchDrop, drop_digest};
use fleet::contract::{AddTargets, AddTargetsResult};
use fleet::signing::{SigningError, SigningErrorKind, SigningRole as _};
use targets_worker::TargetsWorker;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;

struct Scene {
    _dir: tempfile::TempDir,
    config: Config,
    role: TargetsWorker,
    now: UtcTime,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beneath(dir.path()).set("number_of_bins", "0").build().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        for path in [&config.inbound_targets_path, &config.state_path] {
            fs::create_dir_all(path).unwrap();
        }
        // A ceremony compares its clock with that of the mount.
        let now = UtcTime::from_unix(RealFs.stat(dir.path()).unwrap().mtime);
        root_worker::generate_keys(&RealFs, &config, &root_worker::KeyRequest::default()).unwrap();
        root_worker::initialize(&fs, &config, now).unwrap();
        let role = TargetsWorker::open(&fs, &config).unwrap();
        Self { _dir: dir, config, role, now }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.config.inbound_targets_path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn exists(&self, path: &str) -> bool {
        self.config.inbound_targets_path.join(path).exists()
    }

    fn add(&mut self, names: Option<&[&str]>, task: &str) -> Result<AddTargetsResult, SigningError> {
        let targets = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        self.role.add(&AddTargets { batch: None, targets }, task, self.now)
    }
}

#[test]
fn a_file_of_a_batch_or_in_the_making_is_neither_signed_nor_removed_by_name() {
    let mut scene = Scene::new();
    let names = ["batch_7/0/app", "batch_7/BATCH.json", "batch_file", ".staging_host_1/0/app", ".tmp-1-2-3", ".a"];
    for name in names {
        scene.write(name, "half");
        let error = scene.add(Some(&[name]), name).unwrap_err();
        assert_eq!(error.kind(), SigningErrorKind::Refused, "{name}: {error}");
        assert!(error.to_string().contains("not a loose file"), "{name}: {error}");
        assert!(scene.exists(name), "{name}");
    }
    // One such name among others refuses the whole call.
    scene.write("good", "1");
    scene.add(Some(&["good", "batch_7/0/app"]), "mixed").unwrap_err();
    assert!(scene.exists("good"));
    // All loose files are others than these.
    scene.write("dir/.config", "2");
    assert_eq!(scene.add(None, "all").unwrap().targets_added, 2);
    assert!(names.iter().all(|name| scene.exists(name)));
}

#[test]
fn a_repeated_task_is_answered_with_the_record_of_the_first() {
    let mut scene = Scene::new();
    for (task, names) in [("named", Some(&["a"][..])), ("all", None)] {
        scene.write("a", task);
        let first = scene.add(names, task).unwrap();
        assert!(first.record.is_some() && !first.already_done, "{first:?}");
        let again = scene.add(names, task).unwrap();
        assert_eq!((again.record, again.already_done), (first.record, true), "{task}");
        // A newer file is another task's: it is not taken for the one that was signed.
        scene.write("a", "newer");
        assert_eq!(scene.add(names, task).unwrap().record, first.record);
        assert!(scene.exists("a"), "{task}");
    }
}

#[test]
fn a_repeated_batch_is_answered_with_the_record_of_the_first() {
    let mut scene = Scene::new();
    scene.write("batch_1/0/app", "1");
    let file = ("app", Sha256::of(b"1"), 1);
    let drop = BatchDrop {
        dir: "0".into(),
        name: "x".into(),
        digest: drop_digest([file].into_iter()),
        files: 1,
        bytes: 1,
        post: None,
    };
    let batch = Batch { format: BATCH_FORMAT, id: "1".into(), drops: vec![drop] };
    scene.write(&format!("batch_1/{BATCH_FILE}"), &serde_json::to_string(&batch).unwrap());
    let request = AddTargets { batch: Some("batch_1".into()), targets: None };
    let first = scene.role.add(&request, "one", scene.now).unwrap();
    let again = scene.role.add(&request, "two", scene.now).unwrap();
    assert!(first.record.is_some());
    assert_eq!((again.record, again.already_done), (first.record, true));
}

#[test]
fn a_number_of_bins_without_effect_is_reported() {
    let mut scene = Scene::new();
    scene.role.reconcile(scene.now, false).unwrap();
    assert!(scene.role.report(scene.now).notices.is_empty());
    let base = scene.config.repo_path.parent().unwrap();
    let config = Config::beneath(base).set("number_of_bins", "4").build().unwrap();
    assert_eq!(config.repo_path, scene.config.repo_path);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut other = TargetsWorker::open(&fs, &config).unwrap();
    other.reconcile(scene.now, false).unwrap();
    let warnings = other.report(scene.now).notices;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("number_of_bins is 4") && warnings[0].ends_with("set number_of_bins to 0"),
        "{warnings:?}"
    );
}
