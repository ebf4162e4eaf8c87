//! A worker that was taken over: with its key, its directories and its broker user an attacker can make it sign what it
//! may sign, but cannot make another role go back, and cannot have files signed that were never released.
//!
//! That its process reaches no other file is shown by `fleet`'s tests of the sandbox; that its uid and mounts reach none,
//! by `scripts/test-compose.sh`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::{Config, KeyRole, WorkerRole, repository};
use serde_json::{Value, json};
use service::clock::{Clock as _, SystemClock};
use service::config::Sources;
use system_tests::celery::send_task;
use system_tests::{Files, Fleet, Keys, MONITOR, Returning, SNAPSHOT, TARGETS, TIMESTAMP, clients};
use testkit::servers::RabbitMq;
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_repository::log::{Appended, Log, RoleRef, SignerError};
use tuf_repository::roles::{Layout, Lifetime, Submission, TargetChange, TargetsPolicy, TargetsRole, Trust};

fn release(number: u8) -> Files {
    [(format!("{number}/file"), vec![number; 100]), ("latest".to_owned(), vec![number])].into()
}

fn released() -> Files {
    let mut all = release(1);
    all.extend(release(2));
    all
}

/// A fleet with two releases, the second of which yesterday's copy does not have.
fn fleet() -> (Fleet, Yesterday) {
    let settings = [("publish_min_interval", json!(0)), ("scheduler_scan_period", json!(1))];
    let fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &settings);
    fleet.post_drop("first", &release(1));
    fleet.published("first");
    let yesterday = Yesterday::of(&fleet);
    fleet.post_drop("second", &release(2));
    fleet.published("second");
    (fleet, yesterday)
}

/// The names that were there.
struct Yesterday(Vec<PathBuf>);

impl Yesterday {
    fn of(fleet: &Fleet) -> Self {
        Self(names(&fleet.metadata()).into_iter().chain(names(&fleet.records())).collect())
    }

    /// Removes what came since from one directory, and returns it.
    fn restore(&self, directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let newer = names(directory).into_iter().filter(|path| !self.0.contains(path));
        newer
            .map(|path| {
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                (path, bytes)
            })
            .collect()
    }
}

fn put_back(files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

fn names(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// Whoever has the key and the directories of a worker.
struct Attacker {
    fs: Arc<dyn Fs>,
    config: Config,
    trust: Trust,
}

impl Attacker {
    fn with_key_of(fleet: &Fleet, worker: &str) -> Self {
        let role = worker.trim_end_matches("-worker");
        let state = fleet.path("attacker");
        fs::create_dir(&state).unwrap();
        let set = |key: &str, path: PathBuf| format!("{key}={}", path.display());
        let sources = Sources {
            file: Some(fleet.config()),
            set: vec![
                set("state_path", state),
                set("signing_keys_path", fleet.path(worker).join("signing_keys")),
                format!("keys.{role}={role}"),
            ],
            ..Sources::default()
        };
        let config = Config::load(&sources, &RealFs).unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut trust = repository::trust(&fs, &config, role.parse().unwrap()).unwrap();
        trust.refresh(0, SystemClock.now()).unwrap();
        Self { fs, config, trust }
    }

    /// A targets role that has forgotten what it signed.
    fn targets(&self) -> TargetsRole {
        let lifetime = Lifetime { seconds: 86_400, renew_before: 3_600 };
        let policy = TargetsPolicy { layout: Layout::Flat, targets: lifetime, bins: lifetime, portable_names: true };
        let trust = repository::trust(&self.fs, &self.config, KeyRole::Targets).unwrap();
        let floor = repository::floor(&self.fs, &self.config, WorkerRole::Targets).unwrap();
        TargetsRole::new(repository::stores(&self.fs, &self.config), trust, policy, floor)
    }

    /// A record behind the newest one, properly signed, which says what it likes.
    fn append_record(&self, roles: BTreeMap<RoleName, RoleRef>) {
        let role = RoleName::targets();
        let verify = |envelope: &Envelope| self.trust.verify(&role, envelope).is_ok();
        let sign = |bytes: &[u8]| self.trust.sign(&role, bytes).map_err(SignerError::from);
        let mut log = Log::new(repository::stores(&self.fs, &self.config).log);
        log.refresh(&verify).unwrap();
        let appended = log.append(roles, BTreeMap::new(), SystemClock.now(), None, &verify, &sign);
        assert!(matches!(appended.unwrap(), Appended::Committed(_)));
    }

    /// The newest snapshot with other entries, under the next number, properly signed.
    fn forge_snapshot(&self, newest: &Path, entries: BTreeMap<String, Option<Vec<u8>>>) -> PathBuf {
        let envelope = Envelope::parse(fs::read(newest).unwrap()).unwrap();
        let document = Document::parse(DocumentType::Snapshot, envelope.into_signed()).unwrap();
        let version = newest_snapshot(newest.parent().unwrap()).0 + 1;
        let forged = document.edit(&entries, version, document.expires());
        let path = newest.with_file_name(format!("{version}.snapshot.json"));
        fs::write(&path, self.trust.sign(&RoleName::snapshot(), forged.signed()).unwrap()).unwrap();
        path
    }
}

fn newest_snapshot(metadata: &Path) -> (u64, PathBuf) {
    newest(metadata, "snapshot")
}

fn newest(metadata: &Path, role: &str) -> (u64, PathBuf) {
    let suffix = format!(".{role}.json");
    let numbered = names(metadata).into_iter().filter_map(|path| {
        let number = path.file_name()?.to_str()?.strip_suffix(&suffix)?.parse().ok()?;
        Some((number, path))
    });
    numbered.max().unwrap()
}

/// What a record says of a role, true to the file in all but perhaps its version.
fn entry(file: &Path, version: u64) -> RoleRef {
    let bytes = fs::read(file).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let expires = document["signed"]["expires"].as_str().unwrap().parse().unwrap();
    RoleRef { expires, length: bytes.len() as u64, sha256: Sha256::of(&bytes), version }
}

/// SIGKILL, and a start: what a worker knows then, it knows from its floor.
fn restart(fleet: &mut Fleet, worker: &'static str) {
    fleet.kill(worker);
    fleet.start_worker(worker);
}

/// The worker refuses with an alarm that says `why`.
#[track_caller]
fn assert_alarm(answer: &Value, why: &str) {
    assert_eq!(answer["exception"]["class"], "Alarm", "{answer}");
    assert!(answer["exception"]["message"].as_str().unwrap().contains(why), "{answer}");
}

fn update(fleet: &Fleet, worker: &str) -> Value {
    send_task(fleet, worker, &format!("update-{}", worker.trim_end_matches("-worker")), &json!({}))
}

#[test]
fn a_stolen_targets_key_cannot_make_the_snapshot_role_go_back() {
    let (mut fleet, yesterday) = fleet();
    let mut client = Returning::new(&fleet);
    fleet.kill(TARGETS);
    let attacker = Attacker::with_key_of(&fleet, TARGETS);
    let served = fs::read(fleet.metadata().join("timestamp.json")).unwrap();
    let snapshot = newest_snapshot(&fleet.metadata());
    let (version, targets) = newest(&fleet.metadata(), "targets");

    // Yesterday's log, and without the role's newest metadata, the worker running on or started anew.
    let removed = yesterday.restore(&fleet.records());
    assert!(!removed.is_empty() && !yesterday.0.contains(&targets));
    assert_alarm(&update(&fleet, SNAPSHOT), "below the floor");
    let metadata = BTreeMap::from([(targets.clone(), fs::read(&targets).unwrap())]);
    fs::remove_file(&targets).unwrap();
    assert_alarm(&update(&fleet, SNAPSHOT), "below the floor");
    restart(&mut fleet, SNAPSHOT);
    assert_alarm(&update(&fleet, SNAPSHOT), "below the floor");
    put_back(&metadata);

    // Yesterday's log, gone on from by records that are as many as are missing, and more, and properly signed.
    let mut role = attacker.targets();
    for number in 0..=removed.len() {
        let changes = vec![("nothing".parse().unwrap(), TargetChange::Remove { expected: None })];
        let submission = Submission { request: format!("forged-{number}"), changes };
        role.commit(&[submission], SystemClock.now()).unwrap();
    }
    assert!(names(&fleet.records()).len() > yesterday.0.iter().filter(|p| p.starts_with(fleet.records())).count());
    assert_alarm(&update(&fleet, SNAPSHOT), "versions never go back");

    assert_eq!(newest_snapshot(&fleet.metadata()), snapshot, "nothing was signed");
    assert_eq!(fs::read(fleet.metadata().join("timestamp.json")).unwrap(), served);
    assert_eq!(clients::our_client(&fleet), released());
    assert_eq!(client.visit(), released());

    // With the true log it goes on by itself.
    yesterday.restore(&fleet.records());
    put_back(&removed);
    assert_eq!(update(&fleet, SNAPSHOT)["result"]["changed"], false);

    // The true log, gone on from by a record that names an older version; the oldest file as the next version; another
    // role's file as one of its own.
    let oldest = fleet.metadata().join("1.targets.json");
    let next = fleet.metadata().join(format!("{}.targets.json", version + 1));
    let timestamp = fleet.metadata().join("timestamp.json");
    for (role, entry, why) in [
        ("targets", entry(&oldest, 1), "versions never go back"),
        ("targets", entry(&oldest, version + 1), "targets"),
        ("timestamp", entry(&timestamp, 1), "timestamp"),
    ] {
        let before: Vec<PathBuf> = names(&fleet.records());
        fs::copy(&oldest, &next).unwrap();
        attacker.append_record(BTreeMap::from([(RoleName::new(role).unwrap(), entry)]));
        assert_alarm(&update(&fleet, SNAPSHOT), why);
        restart(&mut fleet, SNAPSHOT);
        assert_alarm(&update(&fleet, SNAPSHOT), why);
        assert_eq!(newest_snapshot(&fleet.metadata()), snapshot, "nothing was signed");
        assert_eq!(client.visit(), released());
        fs::remove_file(&next).unwrap();
        for forged in names(&fleet.records()).into_iter().filter(|path| !before.contains(path)) {
            fs::remove_file(forged).unwrap();
        }
        restart(&mut fleet, SNAPSHOT);
        assert_eq!(update(&fleet, SNAPSHOT)["result"]["changed"], false);
    }
    assert_eq!(fs::read(fleet.metadata().join("timestamp.json")).unwrap(), served);
}

#[test]
fn a_stolen_snapshot_key_cannot_make_the_timestamp_role_go_back() {
    let (mut fleet, yesterday) = fleet();
    let mut client = Returning::new(&fleet);
    fleet.kill(SNAPSHOT);
    let attacker = Attacker::with_key_of(&fleet, SNAPSHOT);
    let served = fs::read(fleet.metadata().join("timestamp.json")).unwrap();
    let (number, newest) = newest_snapshot(&fleet.metadata());

    // Yesterday's snapshot, the worker running on or started anew.
    let bytes = fs::read(&newest).unwrap();
    assert!(!yesterday.0.contains(&newest));
    fs::remove_file(&newest).unwrap();
    assert_alarm(&update(&fleet, TIMESTAMP), "below the floor");
    restart(&mut fleet, TIMESTAMP);
    assert_alarm(&update(&fleet, TIMESTAMP), "below the floor");
    assert_eq!(fs::read(fleet.metadata().join("timestamp.json")).unwrap(), served, "nothing was signed");

    // Yesterday's under today's and tomorrow's number.
    let (_, old) = newest_snapshot(&fleet.metadata());
    fs::copy(&old, &newest).unwrap();
    assert_alarm(&update(&fleet, TIMESTAMP), "below the floor");
    fs::write(&newest, &bytes).unwrap();
    let tomorrows = fleet.metadata().join(format!("{}.snapshot.json", number + 1));
    fs::copy(&old, &tomorrows).unwrap();
    assert_eq!(update(&fleet, TIMESTAMP)["result"]["changed"], false, "what does not verify is no state");
    assert_eq!(client.visit(), released());
    fs::remove_file(tomorrows).unwrap();

    // Newer ones in which a role goes back, or is not listed any more.
    let back = BTreeMap::from([("targets.json".to_owned(), Some(br#"{"length":1,"version":1}"#.to_vec()))]);
    let forged = attacker.forge_snapshot(&newest, back);
    assert_alarm(&update(&fleet, TIMESTAMP), "targets.json would go back");
    let vanished = BTreeMap::from([("targets.json".to_owned(), None)]);
    let forged_too = attacker.forge_snapshot(&newest, vanished);
    assert_alarm(&update(&fleet, TIMESTAMP), "targets.json would vanish");
    restart(&mut fleet, TIMESTAMP);
    assert_alarm(&update(&fleet, TIMESTAMP), "targets.json would vanish");

    assert_eq!(fs::read(fleet.metadata().join("timestamp.json")).unwrap(), served, "nothing was signed");
    assert_eq!(clients::our_client(&fleet), released());
    assert_eq!(client.visit(), released());

    fs::remove_file(forged_too).unwrap();
    fs::remove_file(forged).unwrap();
    assert_eq!(update(&fleet, TIMESTAMP)["result"]["changed"], false);
}

#[test]
fn whoever_is_the_monitor_cannot_have_other_files_signed_than_lie_in_the_inbound_directory() {
    let (mut fleet, _) = fleet();
    fleet.kill(MONITOR);
    let secret = fleet.path("secret");
    fs::write(&secret, "not released").unwrap();
    let records = names(&fleet.records()).len();
    let batch = |id: &str, dir: &str| {
        let path = fleet.inbound().join(format!("batch_{id}"));
        fs::create_dir_all(path.join("0")).unwrap();
        let drop = json!({"dir": dir, "name": "forged", "digest": "00".repeat(32), "files": 1, "bytes": 1});
        let batch = json!({"format": 1, "id": id, "drops": [drop]});
        fs::write(path.join("BATCH.json"), batch.to_string()).unwrap();
        path
    };
    let add = |arguments: Value| send_task(&fleet, TARGETS, "add-targets", &arguments);

    // A link to what only the targets-worker may read, as a drop and as a loose file.
    symlink(&secret, batch("a1", "0").join("0/link")).unwrap();
    let linked = add(json!({"batch": "batch_a1"}));
    let reason = linked["result"]["drops"][0]["rejected"].as_str().unwrap_or_else(|| panic!("{linked}"));
    assert!(reason.contains("link"), "{reason}");
    symlink(&secret, fleet.inbound().join("loose")).unwrap();
    assert_eq!(add(json!({"targets": ["loose"]}))["exception"]["class"], "Refused");
    // A directory on the way that is a link.
    symlink(fleet.path(TARGETS), fleet.inbound().join("keys")).unwrap();
    let key = add(json!({"targets": ["keys/signing_keys/targets/targets"]}));
    assert_eq!(key["exception"]["class"], "Refused", "{key}");

    // Names that lead elsewhere.
    batch("a2", "../../tuf_repo");
    for arguments in [
        json!({"batch": "batch_a2"}),
        json!({"batch": "../batch_a2"}),
        json!({"batch": "batch_../a2"}),
        json!({"targets": ["../tuf_repo/log/1.record.json"]}),
        json!({"targets": [secret]}),
    ] {
        let answer = add(arguments);
        assert_eq!(answer["exception"]["class"], "Refused", "{answer}");
    }

    // Files that are not those it says it has hashed.
    fs::write(batch("a3", "0").join("0/file"), "other bytes").unwrap();
    assert_eq!(add(json!({"batch": "batch_a3"}))["exception"]["class"], "BatchMissing");

    assert_eq!(names(&fleet.records()).len(), records, "nothing was signed");
    assert_eq!(clients::our_client(&fleet), released());
}
