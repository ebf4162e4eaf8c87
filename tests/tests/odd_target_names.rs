//! Names with special meanings in URLs, file systems, shells and languages: the fleet refuses each with a reason, or clients of
//! other projects fetch it over HTTP. `scripts/clients.sh` tries the same names with tuf-js.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod tough_over_http;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{binary, eventually};
use tempfile::TempDir;
use testkit::servers::{Process, Python};
use tuf_core::names::TargetPath;

const SOON: Duration = Duration::from_secs(60);

/// The whole fleet in one process, which serves its repository.
struct OneProcess {
    url: String,
    _up: Process,
    dir: TempDir,
}

impl OneProcess {
    fn start(settings: &[(&str, Value)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut all = BTreeMap::from([
            ("environment", json!("testing")),
            ("broker_url", json!("memory://")),
            ("result_backend", json!("memory://")),
            ("publish_min_interval", json!(0)),
        ]);
        for setting in ["post_to_tuf", "inbound_targets", "repo", "signing_keys", "verification_keys", "state"] {
            fs::create_dir(dir.path().join(setting)).unwrap();
        }
        all.extend([
            ("post_to_tuf_path", json!(dir.path().join("post_to_tuf"))),
            ("inbound_targets_path", json!(dir.path().join("inbound_targets"))),
            ("repo_path", json!(dir.path().join("repo"))),
            ("signing_keys_path", json!(dir.path().join("signing_keys"))),
            ("verification_keys_path", json!(dir.path().join("verification_keys"))),
            ("state_path", json!(dir.path().join("state"))),
        ]);
        all.extend(settings.iter().cloned());
        let mut config = String::new();
        for (key, value) in all {
            writeln!(config, "{key}: {value}").unwrap();
        }
        fs::write(dir.path().join("config.yaml"), config).unwrap();
        let rugged = |arguments: &[&str]| {
            let mut command = Command::new(binary("rugged"));
            command.env_clear().arg("--config").arg(dir.path().join("config.yaml")).args(arguments);
            Process::spawn(&mut command)
        };
        let _ = rugged(&["generate-keys"]).wait(SOON).success();
        let _ = rugged(&["initialize"]).wait(SOON).success();
        let up = rugged(&["--json", "up", "--http", "127.0.0.1:0"]);
        let said: Value = eventually("the fleet names its address", || serde_json::from_str(&up.stdout()).ok());
        let url = said["http"].as_str().unwrap().trim_end_matches('/').to_owned();
        Self { url, _up: up, dir }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn receipt(&self, drop: &str) -> Value {
        let path = self.path("post_to_tuf").join(format!("tuf_receipt_{drop}.json"));
        let receipt = eventually(&format!("a receipt of drop {drop}"), || fs::read(&path).ok());
        serde_json::from_slice(&receipt).unwrap()
    }
}

#[track_caller]
fn every_name_is_refused_or_fetched(settings: &[(&str, Value)]) {
    let fleet = OneProcess::start(settings);
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("odd_target_names.json");
    let drops = Python::run("post_odd_names.py", [list, fleet.path("post_to_tuf")], &[]).success().json();
    let drops = drops.as_object().unwrap();
    assert!(drops.len() >= 150, "{}", drops.len());

    let mut accepted: BTreeMap<String, &str> = BTreeMap::new();
    let mut refused = 0;
    for (drop, entry) in drops {
        let name = entry["name"].as_str();
        if entry["posted"] == false {
            // No file has this name; a task that names it is refused at the door.
            let error = TargetPath::new(name.unwrap()).expect_err("a path that no file can have");
            assert!(!error.reason().is_empty());
            refused += 1;
            continue;
        }
        let receipt = fleet.receipt(drop);
        if receipt["outcome"] == "published" {
            accepted.insert(name.unwrap().to_owned(), entry["sha256"].as_str().unwrap());
        } else {
            assert!(receipt["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{receipt}");
            refused += 1;
        }
    }
    assert!(accepted.len() > 100 && refused > 60, "{} accepted, {refused} refused", accepted.len());

    let names: Vec<String> = accepted.keys().cloned().collect();
    let list = fleet.path("accepted.json");
    fs::write(&list, json!(names).to_string()).unwrap();
    let root = fleet.path("repo/metadata/1.root.json");
    let state = |client: &str| {
        let state = fleet.path(client);
        fs::create_dir(&state).unwrap();
        state
    };

    let arguments = [fleet.url.clone().into(), root.clone(), state("python-tuf"), list];
    let report = Python::run("fetch_targets.py", arguments, &[]).success().json();
    assert_eq!(report["refused"], Value::Null, "python-tuf");
    for (name, sha256) in &accepted {
        assert_eq!(report["targets"][name]["sha256"], **sha256, "python-tuf, {name:?}: {}", report["targets"][name]);
    }

    let fetched = tough_over_http::fetch_each(&fleet.url, &fs::read(root).unwrap(), &state("tough"), &names).unwrap();
    for (name, sha256) in &accepted {
        let content = fetched[name].as_ref().unwrap_or_else(|error| panic!("tough, {name:?}: {error}"));
        assert_eq!(hex::encode(ring::digest::digest(&ring::digest::SHA256, content)), *sha256, "tough, {name:?}");
    }
}

#[test]
fn each_odd_name_is_refused_with_a_reason_or_fetched_from_a_flat_repository() {
    every_name_is_refused_or_fetched(&[]);
}

#[test]
fn each_odd_name_is_refused_with_a_reason_or_fetched_from_hashed_bins() {
    every_name_is_refused_or_fetched(&[("number_of_bins", json!(16))]);
}

#[test]
fn each_odd_name_is_refused_with_a_reason_or_fetched_under_its_plain_name() {
    every_name_is_refused_or_fetched(&[("consistent_snapshot", json!(false))]);
}
