//! A repository in a directory of its own, and its workers as separate processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use service::health::probe;
use tempfile::TempDir;
use testkit::servers::{Process, Python, VHost};
use tuf_core::canonical::to_json;
use tuf_core::key::PublicKey;

use crate::binaries::binary;
use crate::eventually_ok;

/// The monitor.
pub const MONITOR: &str = "monitor-worker";
/// The worker of the targets role.
pub const TARGETS: &str = "targets-worker";
/// The worker of the snapshot role.
pub const SNAPSHOT: &str = "snapshot-worker";
/// The worker of the timestamp role.
pub const TIMESTAMP: &str = "timestamp-worker";
/// All workers.
pub const WORKERS: [&str; 4] = [MONITOR, TARGETS, SNAPSHOT, TIMESTAMP];

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];
const SOON: Duration = Duration::from_secs(60);

/// Whose keys the repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Made by `root-worker generate-keys`.
    Ed25519,
    /// Made by `root-worker generate-keys --type ecdsa`.
    P256,
    /// Made by Python's `cryptography`: nothing of ours makes RSA keys.
    Rsa,
}

/// A repository and the workers that were started for it. Each worker has its own key and state directories and shares
/// the rest, as in a deployment. Workers are killed on drop; if the test is failing, their logs are printed.
#[derive(Debug)]
pub struct Fleet {
    // In this order: the workers go before what they work with.
    workers: BTreeMap<&'static str, Worker>,
    /// Second processes of a worker, each with a state of its own, as on another host.
    twins: BTreeMap<&'static str, Worker>,
    ended: Vec<String>,
    /// Broker URLs of workers that do not use the virtual host's own user.
    broker_urls: BTreeMap<String, String>,
    vhost: VHost,
    dir: TempDir,
}

#[derive(Debug)]
struct Worker {
    process: Process,
    health: SocketAddr,
}

impl Fleet {
    /// Lays out the directories, makes the keys and performs the ceremony; no worker runs yet. `settings` are keys of the
    /// configuration file.
    ///
    /// # Panics
    ///
    /// If any of that fails.
    #[track_caller]
    #[must_use]
    pub fn lay_out(vhost: VHost, keys: Keys, settings: &[(&str, Value)]) -> Self {
        let dir = tempfile::Builder::new().prefix("fleet-").tempdir().expect("a scratch directory");
        let fleet = Self {
            workers: BTreeMap::new(),
            twins: BTreeMap::new(),
            ended: Vec::new(),
            broker_urls: BTreeMap::new(),
            vhost,
            dir,
        };
        for shared in ["post_to_tuf", "incoming_targets", "tuf_repo", "verification_keys", "ceremony"] {
            fs::create_dir(fleet.path(shared)).expect("a directory");
        }
        fleet.write_config(settings);
        match keys {
            Keys::Ed25519 => fleet.ceremony(&["generate-keys"]),
            Keys::P256 => fleet.ceremony(&["generate-keys", "--type", "ecdsa"]),
            Keys::Rsa => fleet.import_rsa_keys(),
        }
        fleet.ceremony(&["initialize"]);
        for worker in WORKERS {
            private_dir(&fleet.path(worker).join("state"));
            if worker != MONITOR {
                fleet.hand_over_key(worker);
            }
        }
        fleet
    }

    /// From its next start on, a worker reaches the broker by this URL.
    pub fn set_broker_url(&mut self, worker: &str, url: String) {
        self.broker_urls.insert(worker.to_owned(), url);
    }

    /// As [`Fleet::lay_out`], with all workers started and ready.
    ///
    /// # Panics
    ///
    /// If any of that fails.
    #[track_caller]
    #[must_use]
    pub fn start(vhost: VHost, keys: Keys, settings: &[(&str, Value)]) -> Self {
        let mut fleet = Self::lay_out(vhost, keys, settings);
        for worker in WORKERS {
            fleet.start_worker(worker);
        }
        fleet.wait_ready();
        fleet
    }

    /// How a worker is started, for tests that start one in their own way.
    ///
    /// # Panics
    ///
    /// If its binary is missing.
    #[track_caller]
    #[must_use]
    pub fn command(&self, worker: &str) -> Command {
        self.command_in(worker, worker)
    }

    /// `private` is the directory with its state and key, and its instance's name.
    #[track_caller]
    fn command_in(&self, worker: &str, private: &str) -> Command {
        let mut command = Command::new(binary(worker));
        command.env_clear().arg("--config").arg(self.config());
        command.env("RUGGED_INSTANCE", format!("{private}-test"));
        if let Some(url) = self.broker_urls.get(worker) {
            command.env("RUGGED_BROKER_URL", url);
        }
        let private = self.path(private);
        command.env("RUGGED_STATE_PATH", private.join("state"));
        command.env("RUGGED_SIGNING_KEYS_PATH", private.join("signing_keys"));
        command
    }

    /// Starts a worker that does not run; returns once it has told where its health is served.
    ///
    /// # Panics
    ///
    /// If it ends before that.
    #[track_caller]
    pub fn start_worker(&mut self, worker: &'static str) {
        let started = Worker::start(&mut self.command(worker));
        self.workers.insert(worker, started);
    }

    /// Starts a second process of a worker beside the first, with a copy of its key and a state of its own, as on another
    /// host that mounts the same shares.
    ///
    /// # Panics
    ///
    /// If it ends at once.
    #[track_caller]
    pub fn start_twin(&mut self, worker: &'static str) {
        let private = format!("{worker}-twin");
        let keys = self.path(worker).join("signing_keys");
        private_dir(&self.path(&private).join("state"));
        if keys.exists() {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(keys).arg(self.path(&private));
            assert!(copy.status().expect("cp").success(), "{copy:?}");
        }
        let started = Worker::start(&mut self.command_in(worker, &private));
        self.twins.insert(worker, started);
    }

    /// Waits until every running worker says on `/readyz` that it can do its job.
    ///
    /// # Panics
    ///
    /// If one does not within a minute, with what it says instead.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        for (name, worker) in self.workers.iter_mut().chain(&mut self.twins) {
            eventually_ok(&format!("{name} gets ready"), || {
                assert!(worker.process.is_running(), "{name} has ended\n{}", worker.process.stderr());
                match probe(worker.health, "/readyz") {
                    Ok(answer) if answer.is_ok() => Ok(()),
                    Ok(answer) => Err(answer.body),
                    Err(error) => Err(error.to_string()),
                }
            });
        }
    }

    /// SIGKILL, and the worker is gone.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[track_caller]
    pub fn kill(&mut self, worker: &str) {
        let mut gone = self.workers.remove(worker).unwrap_or_else(|| panic!("{worker} does not run"));
        assert!(gone.process.is_running(), "{worker} had ended by itself\n{}", gone.process.stderr());
        gone.process.kill();
        self.ended.push(format!("log of a killed {worker}:\n{}", gone.process.stderr()));
    }

    /// SIGTERM; returns when the worker has ended with success.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn stop(&mut self, worker: &str) {
        let gone = self.workers.remove(worker).unwrap_or_else(|| panic!("{worker} does not run"));
        let ended = gone.process.terminate(SOON).success();
        self.ended.push(format!("log of a stopped {worker}:\n{}", ended.stderr));
    }

    /// Everything goes to other paths, as on another host that takes over: directories, keys, states and configuration.
    ///
    /// # Panics
    ///
    /// If a worker runs, or it cannot be copied.
    #[track_caller]
    pub fn move_elsewhere(&mut self) {
        assert!(self.workers.is_empty() && self.twins.is_empty(), "nothing may run while it is moved");
        let dir = tempfile::Builder::new().prefix("moved-fleet-").tempdir().expect("a scratch directory");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.path(".")).arg(dir.path());
        assert!(copy.status().expect("cp").success(), "{copy:?}");
        let old = self.dir.path().to_str().expect("a path in UTF-8").to_owned();
        // The old place is gone from here on.
        self.dir = dir;
        let config = fs::read_to_string(self.config()).expect("the configuration");
        let config = config.replace(&old, self.dir.path().to_str().expect("a path in UTF-8"));
        fs::write(self.config(), config).expect("the configuration");
    }

    /// The private volume of a worker that does not run is lost, and an empty one is in its place.
    ///
    /// # Panics
    ///
    /// If the worker runs.
    #[track_caller]
    pub fn lose_state(&self, worker: &str) {
        assert!(!self.workers.contains_key(worker), "{worker} runs");
        let state = self.path(worker).join("state");
        fs::remove_dir_all(&state).expect("the state is lost");
        private_dir(&state);
    }

    /// The log of a running worker, JSON lines.
    #[must_use]
    pub fn log_of(&self, worker: &str) -> String {
        self.workers.get(worker).map(|worker| worker.process.stderr()).unwrap_or_default()
    }

    /// What a running worker answers to `GET /metrics`.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    #[track_caller]
    #[must_use]
    pub fn metrics_of(&self, worker: &str) -> String {
        let worker = self.workers.get(worker).unwrap_or_else(|| panic!("{worker} does not run"));
        probe(worker.health, "/metrics").expect("metrics").body
    }

    /// The virtual host the workers meet in.
    #[must_use]
    pub fn vhost(&self) -> &VHost {
        &self.vhost
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// The drop directory.
    #[must_use]
    pub fn post(&self) -> PathBuf {
        self.path("post_to_tuf")
    }

    /// The inbound directory.
    #[must_use]
    pub fn inbound(&self) -> PathBuf {
        self.path("incoming_targets")
    }

    /// What a web server would serve as `/metadata/`.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.path("tuf_repo/metadata")
    }

    /// What a web server would serve as `/targets/`.
    #[must_use]
    pub fn targets(&self) -> PathBuf {
        self.path("tuf_repo/targets")
    }

    /// The commit records.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.path("tuf_repo/log")
    }

    /// What every client starts from.
    #[must_use]
    pub fn first_root(&self) -> PathBuf {
        self.metadata().join("1.root.json")
    }

    /// A path below the fleet's directory.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write_config(&self, settings: &[(&str, Value)]) {
        let mut all = BTreeMap::from([
            ("environment", json!("testing")),
            ("broker_url", json!(self.vhost.amqp_url)),
            ("post_to_tuf_path", json!(self.post())),
            ("inbound_targets_path", json!(self.inbound())),
            ("repo_path", json!(self.path("tuf_repo"))),
            ("verification_keys_path", json!(self.path("verification_keys"))),
            ("signing_keys_path", json!(self.path("ceremony"))),
            ("state_path", json!(self.path("ceremony/state"))),
            ("health_address", json!("127.0.0.1:0")),
            ("log_format", json!("json")),
        ]);
        all.extend(settings.iter().cloned());
        // JSON values are YAML values.
        let mut text = String::new();
        for (key, value) in all {
            writeln!(text, "{key}: {value}").expect("a string can be written");
        }
        fs::write(self.config(), text).expect("the configuration");
    }

    #[track_caller]
    fn ceremony(&self, arguments: &[&str]) {
        let mut command = Command::new(binary("root-worker"));
        command.env_clear().arg("--config").arg(self.config()).args(arguments);
        let _ = Process::spawn(&mut command).wait(SOON).success();
    }

    /// What an administrator does with keys made elsewhere: private ones where the ceremony looks for them, public ones as
    /// key objects.
    #[track_caller]
    fn import_rsa_keys(&self) {
        let made = self.path("made");
        let mut arguments = vec![made.clone().into_os_string()];
        arguments.extend(ROLES.iter().map(|role| format!("{role}=rsa").into()));
        let _ = Python::run("make_keys.py", arguments, &[]).success();
        for role in ROLES {
            let private = self.path("ceremony").join(role);
            private_dir(&private);
            let private = private.join(role);
            fs::rename(made.join(role), &private).expect("a private key is moved");
            fs::set_permissions(&private, fs::Permissions::from_mode(0o400)).expect("a mode");
            let pem = fs::read(made.join(format!("{role}.pub"))).expect("a public key");
            let public = PublicKey::from_pem(&pem).expect("a public key of ours");
            let directory = self.path("verification_keys").join(role);
            fs::create_dir(&directory).expect("a directory");
            fs::write(directory.join(format!("{role}.json")), to_json(&public.to_canonical())).expect("a public key");
        }
    }

    /// The key goes to where only its worker looks, as a mount would have it.
    #[track_caller]
    fn hand_over_key(&self, worker: &str) {
        let role = worker.trim_end_matches("-worker");
        let keys = self.path(worker).join("signing_keys");
        private_dir(&keys);
        fs::rename(self.path("ceremony").join(role), keys.join(role)).expect("the key is handed over");
    }
}

impl Worker {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let process = Process::spawn(command);
        let line = process.wait_for_line("health is served", SOON);
        let line: Value = serde_json::from_str(&line).expect("a line of the log is JSON");
        let health = line["health.address"].as_str().and_then(|address| address.parse().ok());
        Self { process, health: health.unwrap_or_else(|| panic!("no health.address in {line}")) }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Running workers print theirs themselves.
        if std::thread::panicking() {
            for log in &self.ended {
                eprintln!("{log}");
            }
        }
    }
}

#[track_caller]
fn private_dir(path: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).expect("a directory");
}
