//! A drop without room in the targets directory waits; the other drops of its batch are added.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use durable_fs::{Fs, durable};
use fleet::Config;
use fleet::batch::{BATCH_FILE, Batch, BatchDrop, drop_digest};
use fleet::contract::{AddTargets, AddTargetsResult};
use targets_worker::TargetsWorker;
use testkit::sim_fs::SimFs;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;

/// The space that drops leave free.
const RESERVE: u64 = 16 << 20;

struct Scene {
    fs: SimFs,
    config: Config,
    role: TargetsWorker,
    now: UtcTime,
}

impl Scene {
    fn new() -> Self {
        let sim = SimFs::new();
        let now = UtcTime::from_unix(1_800_000_000);
        sim.set_time(now.unix());
        let config = Config::beneath(Path::new("/fleet")).build().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        for path in [&config.inbound_targets_path, &config.state_path] {
            durable::create_dir_all(fs.as_ref(), path, 0o755).unwrap();
        }
        root_worker::generate_keys(fs.as_ref(), &config, &root_worker::KeyRequest::default()).unwrap();
        root_worker::initialize(&fs, &config, now).unwrap();
        let role = TargetsWorker::open(&fs, &config).unwrap();
        Self { fs: sim, config, role, now }
    }

    fn plant(&self, drops: &[(&str, &str, &[u8])]) -> String {
        let described = drops.iter().enumerate().map(|(index, (name, path, bytes))| BatchDrop {
            dir: index.to_string(),
            name: (*name).to_owned(),
            digest: drop_digest([(*path, Sha256::of(bytes), bytes.len() as u64)].into_iter()),
            files: 1,
            bytes: bytes.len() as u64,
            post: Some(format!("{index}-1-0")),
        });
        let batch = Batch::new(described.collect());
        let dir = self.config.inbound_targets_path.join(batch.dir_name());
        for (index, (_, path, bytes)) in drops.iter().enumerate() {
            self.fs.plant(dir.join(index.to_string()).join(path), *bytes);
        }
        self.fs.plant(dir.join(BATCH_FILE), serde_json::to_vec(&batch).unwrap());
        batch.dir_name()
    }

    fn add(&mut self, batch: &str) -> AddTargetsResult {
        self.role.add(&AddTargets { batch: Some(batch.to_owned()), targets: None }, "task", self.now).unwrap()
    }

    fn used(&self) -> u64 {
        self.fs.files().values().map(|bytes| bytes.len() as u64).sum()
    }
}

fn names(result: &AddTargetsResult) -> (Vec<&str>, Vec<&str>) {
    let added = result.drops.iter().map(|drop| drop.name.as_str()).collect();
    (added, result.waiting.iter().map(|drop| drop.name.as_str()).collect())
}

#[test]
fn a_drop_without_room_waits_with_numbers_and_the_others_are_added() {
    let mut scene = Scene::new();
    let large = vec![b'x'; 2_000_000];
    let batch = scene.plant(&[
        ("large", "large", &large),
        ("small", "small", b"s"),
        ("younger", "large", b"y"),
        ("last", "last", b"l"),
    ]);
    scene.fs.set_capacity(scene.used() + RESERVE + 1_000_000);
    let result = scene.add(&batch);
    assert_eq!(names(&result), (vec!["small", "last"], vec!["large", "younger"]));
    let reason = &result.waiting[0].reason;
    assert!(reason.contains("it needs 1.9 MiB") && reason.contains("in the targets directory"), "{reason}");
    assert_eq!(result.waiting[1].reason, "it waits for the older drop large, which also has large");
    assert!(result.drops.iter().all(|drop| drop.rejected.is_none() && drop.record == result.record), "{result:?}");
    // With room the same batch is completed, and what was added is not added again.
    scene.fs.set_capacity(u64::MAX);
    let again = scene.add(&batch);
    assert_eq!(names(&again), (vec!["large", "small", "younger", "last"], vec![]));
    assert_eq!(again.drops[1].record, result.record);
    assert!(again.drops[0].record > result.record);
}

/// A server that allocates late reports a full disk at any operation of the copy: at the sync too.
#[test]
fn a_disk_that_reports_at_any_operation_that_it_is_full_makes_some_drops_wait_and_none_is_lost() {
    let plant =
        |scene: &Scene| scene.plant(&[("small", "s", b"s"), ("large", "l", &[b'l'; 100_000]), ("last", "z", b"z")]);
    let count = {
        let mut scene = Scene::new();
        let batch = plant(&scene);
        let before = scene.fs.operations();
        scene.add(&batch);
        scene.fs.operations() - before
    };
    let mut waited = 0;
    for n in 0..count {
        let mut scene = Scene::new();
        let batch = plant(&scene);
        scene.fs.fail_at(scene.fs.operations() + n, std::io::ErrorKind::StorageFull);
        let request = AddTargets { batch: Some(batch.clone()), targets: None };
        if let Ok(result) = scene.role.add(&request, "task", scene.now)
            && !result.waiting.is_empty()
        {
            waited += 1;
            let (added, waiting) = names(&result);
            assert_eq!(added.len() + waiting.len(), 3, "{n}: {result:?}");
            assert!(!added.is_empty() || n < count / 2, "{n}: {result:?}");
        }
        scene.fs.heal();
        assert_eq!(names(&scene.add(&batch)), (vec!["small", "large", "last"], vec![]), "{n}");
    }
    println!("{waited} of {count} operations make drops wait");
    assert!(waited > 3, "{waited} of {count}");
}

#[test]
fn a_directory_that_fills_while_a_drop_is_copied_makes_that_drop_wait() {
    let mut scene = Scene::new();
    let batch = scene.plant(&[("X", "x", b"x")]);
    scene.fs.refuse_writes(scene.config.targets_path().join(".tmp"), std::io::ErrorKind::StorageFull);
    scene.fs.refuse_writes(scene.config.targets_path(), std::io::ErrorKind::QuotaExceeded);
    let result = scene.add(&batch);
    assert_eq!(names(&result), (vec![], vec!["X"]));
    scene.fs.heal();
    assert_eq!(names(&scene.add(&batch)), (vec!["X"], vec![]));
}
