//! `policy.*`: what a release may add, and what it may replace.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::batch::{BATCH_FILE, BATCH_FORMAT, Batch, BatchDrop, drop_digest};
use fleet::contract::{AddTargets, AddTargetsResult};
use fleet::signing::{SigningError, SigningErrorKind};
use targets_worker::TargetsWorker;
use tuf_core::bins::BinLayout;
use tuf_core::names::TargetPath;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;
use tuf_repository::roles::TargetEntry;

type Files<'a> = &'a [(&'a str, &'a str)];

struct Scene {
    _dir: tempfile::TempDir,
    config: Config,
    role: TargetsWorker,
    now: UtcTime,
    batches: u32,
    /// Which post of its drops a batch holds.
    post: Option<String>,
}

impl Scene {
    fn new(bins: u32, policy: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Config::beneath(dir.path()).set("number_of_bins", bins.to_string());
        for (key, value) in policy {
            builder = builder.set(*key, *value);
        }
        let config = builder.build().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        for path in [&config.inbound_targets_path, &config.state_path] {
            fs::create_dir_all(path).unwrap();
        }
        // A ceremony compares its clock with that of the mount.
        let now = UtcTime::from_unix(RealFs.stat(dir.path()).unwrap().mtime);
        root_worker::generate_keys(&RealFs, &config, &root_worker::KeyRequest::default()).unwrap();
        root_worker::initialize(&fs, &config, now).unwrap();
        let role = TargetsWorker::open(&fs, &config).unwrap();
        Self { _dir: dir, config, role, now, batches: 0, post: None }
    }

    /// Why each drop was rejected; `None` where it was not.
    fn add(&mut self, drops: &[(&str, Files<'_>)]) -> Vec<Option<String>> {
        self.add_batch(drops).drops.into_iter().map(|drop| drop.rejected).collect()
    }

    fn add_batch(&mut self, drops: &[(&str, Files<'_>)]) -> AddTargetsResult {
        self.batches += 1;
        let id = self.batches.to_string();
        let batch = format!("batch_{id}");
        let path = self.config.inbound_targets_path.join(&batch);
        let mut described = Vec::new();
        for (index, (name, files)) in drops.iter().enumerate() {
            let mut listed: Vec<(TargetPath, TargetEntry)> = Vec::new();
            for (file, text) in *files {
                let at = path.join(index.to_string()).join(file);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, text).unwrap();
                let entry = TargetEntry { length: text.len() as u64, sha256: Sha256::of(text.as_bytes()) };
                listed.push((file.parse().unwrap(), entry));
            }
            let digest = drop_digest(listed.iter().map(|(path, entry)| (path.as_str(), entry.sha256, entry.length)));
            let (dir, name) = (index.to_string(), (*name).to_owned());
            let bytes = listed.iter().map(|(_, entry)| entry.length).sum();
            described.push(BatchDrop { dir, name, digest, files: files.len() as u64, bytes, post: self.post.clone() });
        }
        let described = Batch { format: BATCH_FORMAT, id, drops: described };
        fs::write(path.join(BATCH_FILE), serde_json::to_vec(&described).unwrap()).unwrap();
        let request = AddTargets { batch: Some(batch), targets: None };
        self.role.add(&request, "task", self.now).unwrap()
    }

    /// Whether this text is signed for the target.
    fn serves(&self, path: &str, text: &str) -> bool {
        let metadata = self.config.metadata_path();
        let versions = fs::read_dir(&metadata).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".targets.json")?.parse::<u64>().ok()
        });
        let newest = fs::read(metadata.join(format!("{}.targets.json", versions.max().unwrap()))).unwrap();
        let newest: serde_json::Value = serde_json::from_slice(&newest).unwrap();
        newest["signed"]["targets"][path]["hashes"]["sha256"] == Sha256::of(text.as_bytes()).to_string()
    }

    fn loose(&mut self, path: &str, text: &str, task: &str) -> Result<AddTargetsResult, SigningError> {
        fs::write(self.config.inbound_targets_path.join(path), text).unwrap();
        self.role.add(&AddTargets { targets: Some(vec![path.into()]), batch: None }, task, self.now)
    }
}

#[test]
fn a_path_that_is_not_allowed_rejects_its_drop_and_no_other() {
    let mut scene = Scene::new(0, &[("policy.allowed_targets", "pkg/**,*.zip")]);
    let good: Files<'_> = &[("pkg/a/b", "1"), ("x.zip", "2")];
    let verdicts = scene.add(&[("good", good), ("bad", &[("pkg/c", "3"), ("etc/passwd", "4")])]);
    assert_eq!(verdicts[0], None);
    assert!(
        verdicts[1].as_ref().unwrap().contains("\"etc/passwd\" is not among policy.allowed_targets"),
        "{verdicts:?}"
    );
}

#[test]
fn a_name_that_some_clients_cannot_fetch_rejects_its_drop_unless_any_name_is_wanted() {
    let odd: [Files<'_>; 7] = [
        &[("a%20b", "1")],
        &[("c#.nupkg", "2")],
        &[("d?e", "3")],
        &[("\u{ff21}", "4")],
        &[("sha256:abc", "5")],
        &[("dir/f ", "6")],
        &[("constructor", "7")],
    ];
    let drops: Vec<(&str, Files<'_>)> = ["a", "c", "d", "e", "f", "g", "h"].into_iter().zip(odd).collect();
    let mut scene = Scene::new(0, &[]);
    for verdict in scene.add(&drops) {
        assert!(
            verdict
                .as_ref()
                .is_some_and(|reason| reason.ends_with("or an operator allows it with `target_names: any`")),
            "{verdict:?}"
        );
    }
    let invisible = scene.add(&[("invisible", &[("a\u{e000}", "1")])]);
    let many = scene.add(&[("many", &[("a?", "1"), ("b#", "2"), ("fine", "3"), ("c?", "4")])]);
    assert!(many[0].as_ref().unwrap().contains(" (and 2 more); rename it"), "{many:?}");
    assert!(invisible[0].as_ref().unwrap().starts_with("\"a\\u{e000}\" cannot be released"), "{invisible:?}");
    assert_eq!(scene.add(&[("fine", &[("100%", "1"), ("é+日本", "2")])]), [None]);
    assert_eq!(Scene::new(0, &[("target_names", "any")]).add(&drops), [const { None::<String> }; 7]);
    let mut legacy = Scene::new(0, &[("keyid_format", "legacy")]);
    assert!(legacy.add(&[("legacy", &[("é", "1")])])[0].as_ref().unwrap().contains("not ASCII"));
}

#[test]
fn a_name_that_tough_sorts_differently_beside_another_rejects_its_drop() {
    let mut scene = Scene::new(0, &[]);
    let apart = |verdict: &Option<String>| verdict.as_ref().is_some_and(|reason| reason.contains("tough sorts"));
    // In one drop, in one batch in either order, and beside a signed target.
    let both: Files<'_> = &[("app", "1"), ("app 2", "2")];
    assert!(apart(&scene.add(&[("both", both)])[0]));
    let verdicts = scene.add(&[("short", &[("one", "1")]), ("long", &[("one!", "2")])]);
    assert!(verdicts[0].is_none() && apart(&verdicts[1]), "{verdicts:?}");
    let verdicts = scene.add(&[("long", &[("two 2", "1")]), ("other", &[("two-2", "2")]), ("short", &[("two", "3")])]);
    assert!(verdicts[0].is_none() && verdicts[1].is_none() && apart(&verdicts[2]), "{verdicts:?}");
    assert!(apart(&scene.add(&[("later", &[("one 2", "2")])])[0]));
    // The shorter one later, with a drop that nothing stands in the way of.
    let verdicts = scene.add(&[("short", &[("two", "3")]), ("other", &[("three", "4")])]);
    assert!(apart(&verdicts[0]) && verdicts[1].is_none(), "{verdicts:?}");
    assert!(scene.serves("three", "4") && !scene.serves("two", "3"));
    // A drop beside a rejected one is judged without it.
    let verdicts = scene.add(&[("short", &[("two", "3")]), ("below", &[("two/four", "5")])]);
    assert!(apart(&verdicts[0]) && verdicts[1].is_none(), "{verdicts:?}");
    let error = scene.loose("two", "3", "loose").unwrap_err();
    assert_eq!(error.kind(), SigningErrorKind::Refused);
    assert!(error.to_string().contains("tough sorts") && error.to_string().contains("nothing was signed"), "{error}");
    assert_eq!(scene.add(&[("fine", &[("one-2", "1"), ("dir/one 2", "2")])]), [None]);
    assert_eq!(Scene::new(0, &[("target_names", "any")]).add(&[("both", both)]), [None]);
}

#[test]
fn a_name_that_tough_sorts_differently_is_released_where_the_other_is_in_another_bin() {
    let mut scene = Scene::new(4, &[]);
    let bins = BinLayout::new(4).unwrap();
    let bin = |path: &str| bins.index_of(&path.parse().unwrap());
    let longer = |same: bool| (0..).map(|n| format!("app {n}")).find(|path| (bin(path) == bin("app")) == same).unwrap();
    let (beside, elsewhere) = (longer(true), longer(false));
    assert_eq!(scene.add(&[("long", &[(&elsewhere, "1")])]), [None]);
    assert_eq!(scene.add(&[("short", &[("app", "2")])]), [None]);
    assert!(scene.add(&[("long", &[(&beside, "3")])])[0].as_ref().unwrap().contains("tough sorts"));
    let mut scene = Scene::new(4, &[]);
    assert_eq!(scene.add(&[("long", &[(&beside, "1")])]), [None]);
    assert!(scene.add(&[("short", &[("app", "2")])])[0].as_ref().unwrap().contains("tough sorts"));
}

#[test]
fn what_may_not_be_replaced_rejects_the_drop_unless_it_is_the_same() {
    for bins in [0, 4] {
        let mut scene = Scene::new(bins, &[("policy.overwrite", "latest/*")]);
        assert_eq!(scene.add(&[("one", &[("app-1", "1"), ("latest/app", "1")])]), [None]);
        assert_eq!(scene.add(&[("two", &[("app-1", "1"), ("latest/app", "2")])]), [None]);
        let verdicts = scene.add(&[("three", &[("app-1", "other")]), ("four", &[("app-2", "2")])]);
        assert!(verdicts[0].as_ref().unwrap().starts_with("\"app-1\" exists already"), "{verdicts:?}");
        assert_eq!(verdicts[1], None);
    }
}

#[test]
fn two_drops_of_one_batch_do_not_replace_each_other_either() {
    let mut scene = Scene::new(4, &[("policy.overwrite", "")]);
    let verdicts = scene.add(&[("one", &[("app", "1")]), ("two", &[("app", "2")]), ("three", &[("app", "1")])]);
    assert_eq!((&verdicts[0], &verdicts[2]), (&None, &None));
    assert!(verdicts[1].is_some());
}

#[test]
fn by_default_everything_may_be_replaced() {
    let mut scene = Scene::new(0, &[]);
    assert_eq!(scene.add(&[("one", &[("app", "1")])]), [None]);
    assert_eq!(scene.add(&[("two", &[("app", "2")])]), [None]);
}

#[test]
fn loose_files_that_policy_forbids_are_refused_and_stay() {
    let mut scene = Scene::new(0, &[("policy.overwrite", ""), ("policy.allowed_targets", "*.zip")]);
    scene.loose("a.zip", "1", "t1").unwrap();
    let refused = |result: Result<AddTargetsResult, SigningError>| {
        assert_eq!(result.unwrap_err().kind(), SigningErrorKind::Refused)
    };
    refused(scene.loose("a.zip", "2", "t2"));
    assert!(scene.config.inbound_targets_path.join("a.zip").exists());
    refused(scene.loose("a.exe", "1", "t3"));
}

#[test]
fn a_batch_of_a_newer_monitor_waits_for_the_upgrade_and_speaks_against_no_drop() {
    let mut scene = Scene::new(0, &[]);
    let path = scene.config.inbound_targets_path.join("batch_1");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(BATCH_FILE), r#"{"format":9,"drops":{"of":"another kind"}}"#).unwrap();
    let request = AddTargets { batch: Some("batch_1".into()), targets: None };
    match scene.role.add(&request, "task", scene.now) {
        Err(error) if error.kind() == SigningErrorKind::Alarm => {
            let said = error.to_string();
            assert!(said.contains("format 9") && said.contains("upgrade the targets-worker"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_post_is_signed_once_and_the_same_drop_posted_again_is_signed_again() {
    let mut scene = Scene::new(0, &[]);
    let mut post = |post: &str, text: &str| {
        scene.post = Some(post.to_owned());
        let result = scene.add_batch(&[("X", &[("app", text)])]);
        (result.drops[0].record.unwrap(), scene.serves("app", "A"))
    };
    let (first, _) = post("1-1-0", "A");
    let (second, serves_a) = post("2-2-0", "B");
    assert!(second > first && !serves_a);
    // Another attempt at the first post, by a monitor that was interrupted, does not bring it back.
    assert_eq!(post("1-1-0", "A"), (first, false));
    let (third, serves_a) = post("3-3-0", "A");
    assert!(third > second && serves_a, "clients see A again");
    assert_eq!(post("3-3-0", "A"), (third, true));
    // What is signed already needs a record and no new metadata.
    let (again, _) = post("4-4-0", "A");
    assert!(again > third);
    scene.post = Some("../x".into());
    let request = AddTargets { batch: Some("batch_6".into()), targets: None };
    let path = scene.config.inbound_targets_path.join("batch_6").join(BATCH_FILE);
    let bad = fs::read_to_string(&path).unwrap().replace("4-4-0", "../x");
    fs::write(&path, bad).unwrap();
    assert_eq!(scene.role.add(&request, "task", scene.now).unwrap_err().kind(), SigningErrorKind::Refused);
}

#[test]
fn a_target_that_was_removed_since_is_signed_again_for_a_new_post() {
    let mut scene = Scene::new(0, &[]);
    scene.post = Some("1-1-0".into());
    scene.add(&[("X", &[("app", "A")])]);
    let request = fleet::contract::RemoveTargets {
        targets: vec!["app".into()],
        request_id: "r".into(),
        expected: std::collections::BTreeMap::new(),
    };
    scene.role.remove(&request, scene.now).unwrap();
    assert!(!scene.serves("app", "A"));
    scene.post = Some("2-2-0".into());
    scene.add(&[("X", &[("app", "A")])]);
    assert!(scene.serves("app", "A"));
}
