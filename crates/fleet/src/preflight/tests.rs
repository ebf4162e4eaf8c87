use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use tuf_core::canonical::Extra;
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::key::{KeyIdFormat, PublicKey, ed25519};
use tuf_core::names::RoleName;
use tuf_core::schema::{Metadata as _, RoleKeys, Root, SpecVersion};

use super::checks::space;
use super::finding::Findings;
use super::*;
use crate::places::{self, PlaceKind};
use crate::roles::{KeyRole, WorkerRole};
use crate::{Config, FleetError, key_files};
use service::clock::{Clock as _, SystemClock};
use service::exit_code::WorkerExit;

struct Scene {
    dir: tempfile::TempDir,
    config: Config,
}

impl Scene {
    /// Every place of every role, and no keys.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beneath(dir.path()).build().unwrap();
        for role in WorkerRole::ALL {
            for place in places::of_role(&config, role) {
                std::fs::create_dir_all(&place.path).unwrap();
                if place.kind == PlaceKind::State {
                    chmod(&place.path, 0o700);
                }
            }
        }
        Self { dir, config }
    }

    fn key(&self, role: KeyRole, mode: u32) -> PathBuf {
        let pair = ed25519(&ring::rand::SystemRandom::new()).unwrap();
        let path = self.config.signing_keys_of(role).join(role.as_str());
        std::fs::write(&path, pair.private_pem.as_bytes()).unwrap();
        chmod(&path, mode);
        path
    }

    fn findings(&self, role: WorkerRole) -> Vec<PreflightFinding> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut all = for_role(&fs, &self.config, role, SystemClock.now(), true);
        // Where tests keep their files, and how full that is, is the machine's affair.
        all.retain(|finding| !matches!(finding.check, "mount" | "space"));
        all
    }

    fn at_start(&self, role: WorkerRole) -> Result<(), FleetError> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        at_start(&fs, &self.config, role, SystemClock.now())
    }

    fn everything(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.dir.path().to_path_buf()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sound_monitor_has_nothing_to_report_and_nothing_is_left_behind() {
    let scene = Scene::new();
    let before = scene.everything();
    assert_eq!(scene.findings(WorkerRole::Monitor), []);
    assert_eq!(scene.everything(), before);
}

#[test]
fn a_missing_place_is_a_warning_and_the_worker_starts() {
    let scene = Scene::new();
    std::fs::remove_dir(scene.config.metadata_path()).unwrap();
    scene.key(KeyRole::Snapshot, 0o400);
    let findings = scene.findings(WorkerRole::Snapshot);
    let place = findings.iter().find(|finding| finding.check == "place").unwrap();
    assert_eq!(place.severity, FindingSeverity::Warn);
    assert!(place.subject.ends_with("repo/metadata") && place.advice.contains("waits"), "{place}");
    scene.at_start(WorkerRole::Snapshot).unwrap();
}

#[test]
fn a_place_that_is_a_file_is_reported() {
    let scene = Scene::new();
    std::fs::remove_dir(&scene.config.post_to_tuf_path).unwrap();
    std::fs::write(&scene.config.post_to_tuf_path, "").unwrap();
    assert!(scene.findings(WorkerRole::Monitor)[0].message.contains("not a directory"));
}

#[test]
fn a_group_readable_key_refuses_the_start() {
    let scene = Scene::new();
    let path = scene.key(KeyRole::Targets, 0o440);
    let error = scene.at_start(WorkerRole::Targets).unwrap_err();
    assert_eq!(error.exit_code(), WorkerExit::Refused);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    chmod(&path, 0o400);
    scene.at_start(WorkerRole::Targets).unwrap();
}

#[test]
fn another_roles_readable_key_refuses_a_signing_worker_and_warns_a_monitor() {
    let scene = Scene::new();
    scene.key(KeyRole::Targets, 0o400);
    scene.key(KeyRole::Snapshot, 0o400);
    assert_eq!(scene.at_start(WorkerRole::Snapshot).unwrap_err().exit_code(), WorkerExit::Refused);
    scene.at_start(WorkerRole::Monitor).unwrap();
    let findings = scene.findings(WorkerRole::Monitor);
    assert!(findings.iter().any(|finding| finding.check == "isolation"), "{findings:?}");
}

#[test]
fn loose_modes_are_reported_with_what_to_do() {
    let scene = Scene::new();
    scene.key(KeyRole::Timestamp, 0o400);
    chmod(&scene.config.state_of(WorkerRole::Timestamp), 0o755);
    chmod(&scene.config.metadata_path(), 0o777);
    chmod(&scene.config.verification_keys_path, 0o777);
    let findings = scene.findings(WorkerRole::Timestamp);
    let modes: Vec<_> = findings.iter().filter(|finding| finding.check == "mode").collect();
    assert_eq!(modes.len(), 3, "{findings:?}");
    assert!(modes.iter().all(|finding| !finding.advice.is_empty()));
    chmod(&scene.config.metadata_path(), 0o1777);
    assert_eq!(scene.findings(WorkerRole::Timestamp).iter().filter(|finding| finding.check == "mode").count(), 2);
}

#[test]
fn a_clock_far_from_the_mounts_is_reported() {
    let scene = Scene::new();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    for (seconds, word) in [(86_400 * 365, "ahead of"), (-86_400, "behind")] {
        let now = SystemClock.now().plus_seconds(seconds);
        let findings = for_role(&fs, &scene.config, WorkerRole::Monitor, now, true);
        let clock: Vec<_> = findings.iter().filter(|finding| finding.check == "clock").collect();
        assert_eq!(clock.len(), 2, "{findings:?}");
        assert!(clock[0].message.contains(word), "{}", clock[0]);
    }
}

#[test]
fn a_full_read_only_or_forbidden_mount_is_a_warning_that_says_which() {
    let sim = refusing::Denying;
    let config = Config::beneath(Path::new("/nowhere")).build().unwrap();
    let place = places::of_role(&config, WorkerRole::Monitor).remove(0);
    let mut findings = Findings::new(FindingScope::Role(WorkerRole::Monitor));
    assert_eq!(probe::write(&sim, &place, &mut findings), None);
    assert!(findings.all[0].advice.contains("read-write"), "{:?}", findings.all);
    space(&sim, &place, &mut findings);
    assert_eq!(findings.all.iter().filter(|finding| finding.check == "space").count(), 2);
}

/// A file system that is read-only and full.
mod refusing {
    use std::io::{self, ErrorKind};
    use std::path::Path;

    use durable_fs::{Dir, DirEntry, Fs, LockGuard, ReadFile, Space, Stat, SyncPoint, WriteFile};

    #[derive(Debug)]
    pub(super) struct Denying;

    fn refused<T>() -> io::Result<T> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    impl Fs for Denying {
        fn create_new(&self, _: &Path, _: u32) -> io::Result<Box<dyn WriteFile>> {
            refused()
        }
        fn open(&self, _: &Path) -> io::Result<Box<dyn ReadFile>> {
            refused()
        }
        fn open_beneath(&self, _: &Path, _: &Path) -> io::Result<Box<dyn ReadFile>> {
            refused()
        }
        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            refused()
        }
        fn begin_sync(&self, _: &Path) -> io::Result<Box<dyn SyncPoint>> {
            refused()
        }
        fn open_dir(&self, _: &Path) -> io::Result<Box<dyn Dir>> {
            refused()
        }
        fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
            refused()
        }
        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            refused()
        }
        fn create_dir(&self, _: &Path, _: u32) -> io::Result<()> {
            refused()
        }
        fn remove_file(&self, _: &Path) -> io::Result<()> {
            refused()
        }
        fn remove_dir(&self, _: &Path) -> io::Result<()> {
            refused()
        }
        fn read_dir(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
            refused()
        }
        fn stat(&self, _: &Path) -> io::Result<Stat> {
            refused()
        }
        fn set_mtime(&self, _: &Path, _: i64) -> io::Result<()> {
            refused()
        }
        fn space(&self, _: &Path) -> io::Result<Space> {
            Ok(Space { bytes: 1 << 20, inodes: 7 })
        }
        fn lock(&self, _: &Path, _: std::time::Duration) -> io::Result<Box<dyn LockGuard>> {
            refused()
        }
    }
}

/// Publishes a root that lists `targets` for the targets role, and the scene's root key for all others.
fn publish_root(scene: &Scene, version: u64, targets: &PublicKey) {
    let signers = key_files::signers(&RealFs, &scene.config.signing_keys_of(KeyRole::Root), &[]).unwrap();
    let own = signers[0].public_key();
    let id = |key: &PublicKey| key.key_id(KeyIdFormat::Spec);
    let roles = [("root", own), ("targets", targets), ("snapshot", own), ("timestamp", own)];
    let root = Root {
        version,
        expires: SystemClock.now().plus_seconds(300 * 86_400),
        consistent_snapshot: true,
        keys: [own, targets].into_iter().map(|key| (id(key), key.clone())).collect(),
        roles: roles
            .into_iter()
            .map(|(role, key)| (RoleName::new(role).unwrap(), RoleKeys::new(vec![id(key)], 1)))
            .collect(),
        spec_version: SpecVersion::default(),
        extra: Extra::new(),
    };
    let signed = root.to_canonical();
    let signature = Signature { keyid: id(own), sig: signers[0].sign(&signed).unwrap() };
    let bytes = Envelope::to_bytes(&signed, &[signature]);
    std::fs::write(scene.config.metadata_path().join(format!("{version}.root.json")), &bytes).unwrap();
    if version == 1 {
        let _ = std::fs::remove_dir(&scene.config.trusted_root);
        std::fs::create_dir_all(scene.config.trusted_root.parent().unwrap()).unwrap();
        std::fs::write(&scene.config.trusted_root, &bytes).unwrap();
    }
}

#[test]
fn a_retired_key_is_reported_and_a_staged_one_is_not_taken_for_one() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.config.signing_keys_of(KeyRole::Root)).unwrap();
    scene.key(KeyRole::Root, 0o400);
    scene.key(KeyRole::Targets, 0o400);
    let dir = scene.config.signing_keys_of(KeyRole::Targets);
    let old = key_files::signers(&RealFs, &dir, &[]).unwrap()[0].public_key().clone();
    let keys = || {
        let findings = scene.findings(WorkerRole::Targets);
        findings.into_iter().filter(|finding| finding.check == "keys").collect::<Vec<_>>()
    };
    publish_root(&scene, 1, &old);
    assert_eq!(keys(), []);
    // A new key beside it, first staged, then in the root instead of the old one.
    let pair = ed25519(&ring::rand::SystemRandom::new()).unwrap();
    std::fs::write(dir.join("second"), pair.private_pem.as_bytes()).unwrap();
    chmod(&dir.join("second"), 0o400);
    let staged = keys();
    assert_eq!(staged.len(), 1);
    assert!(staged[0].severity == FindingSeverity::Info && staged[0].message.contains("is staged"), "{staged:?}");
    let signers = key_files::signers(&RealFs, &dir, &["second".to_owned()]).unwrap();
    publish_root(&scene, 2, signers[0].public_key());
    let retired = keys();
    assert_eq!(retired.len(), 1, "{retired:?}");
    assert_eq!(retired[0].severity, FindingSeverity::Warn);
    assert!(retired[0].message.contains("is retired: root version 1 listed it"), "{retired:?}");
    assert!(retired[0].advice.contains("remove it"), "{retired:?}");
}
