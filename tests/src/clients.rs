//! Clients that know nothing of the fleet but its first root: python-tuf, and our own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use service::clock::{Clock as _, SystemClock};
use testkit::servers::{Process, Python};
use tuf_core::client::{Client, ClientLimits, Fetch, FetchError};

use crate::{Files, Fleet, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

/// What python-tuf's `ngclient` makes of the repository, starting from `1.root.json` and an empty cache: every target that
/// the verified metadata names, downloaded. See `tests/python/tuf_download.py` for the report.
///
/// # Panics
///
/// If anything does not verify.
#[track_caller]
#[must_use]
pub fn python_tuf(fleet: &Fleet) -> Value {
    let client = fleet.path("client").join("once");
    // From a clean start each time: what an earlier call downloaded must not count.
    let _ = std::fs::remove_dir_all(&client);
    Python::spawn("tuf_download.py", python_arguments(fleet, &client, &["--all"]), &[]).wait(DEADLINE).success().json()
}

/// As [`python_tuf`], by a client that keeps what it has seen from one call to the next.
///
/// # Panics
///
/// If anything does not verify, or went back since the last call.
#[track_caller]
#[must_use]
pub fn python_tuf_returning(fleet: &Fleet) -> Value {
    let client = fleet.path("client").join("returning");
    let arguments = python_arguments(fleet, &client, &["--all", "--cached"]);
    Python::spawn("tuf_download.py", arguments, &[]).wait(DEADLINE).success().json()
}

/// A python-tuf client that comes back again and again, its cache kept, until it is told to end.
#[derive(Debug)]
pub struct Reader {
    process: Process,
    end: PathBuf,
}

impl Reader {
    /// Starts it. A round that fails ends it with an error.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(fleet: &Fleet) -> Self {
        Self::start_with(fleet, &[])
    }

    /// As [`Reader::start`], but a round that fails is tried again until it succeeds, a minute at most: for repositories
    /// without consistent snapshots, where a read may meet a swap.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_persistent(fleet: &Fleet) -> Self {
        Self::start_with(fleet, &["--retry", "60"])
    }

    #[track_caller]
    fn start_with(fleet: &Fleet, more: &[&str]) -> Self {
        let client = fleet.path("client").join("reader");
        std::fs::create_dir_all(&client).expect("a directory");
        let end = client.join("end");
        let until = end.to_str().expect("a path in UTF-8").to_owned();
        let arguments = python_arguments(fleet, &client, &[&["--all", "--loop-until", &until], more].concat());
        Self { process: Python::spawn("tuf_download.py", arguments, &[]), end }
    }

    /// Waits for `count` rounds that began after this call, and returns what they report. See `tuf_download.py`.
    ///
    /// # Panics
    ///
    /// If the reader fails meanwhile.
    #[track_caller]
    pub fn fresh_rounds(&mut self, count: usize) -> Vec<Value> {
        // The one that is under way began before.
        let before = self.rounds().len() + 1;
        eventually("the reader comes back", || {
            assert!(self.process.is_running(), "the reader failed\n{}", self.process.stdout());
            let rounds = self.rounds();
            (rounds.len() >= before + count).then(|| rounds[before..].to_vec())
        })
    }

    fn rounds(&self) -> Vec<Value> {
        // The last line may not be whole yet.
        self.process.stdout().lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends the reader after one more round and returns what all rounds report.
    ///
    /// # Panics
    ///
    /// If any round failed.
    #[track_caller]
    #[must_use]
    pub fn end(self) -> Vec<Value> {
        std::fs::write(&self.end, "").expect("a file");
        let output = self.process.wait(DEADLINE).success().stdout;
        output.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// Nothing in a round of a reader goes back behind the round before it, and no target vanishes.
///
/// # Panics
///
/// If something does.
#[track_caller]
pub fn assert_only_forward(rounds: &[Value]) {
    assert!(rounds.len() > 1, "one round proves nothing");
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    for round in rounds {
        let mut versions: BTreeMap<String, u64> = ["root", "timestamp", "snapshot", "targets_version"]
            .map(|role| (role.into(), round[role].as_u64().expect("a version")))
            .into();
        let roles = round["roles"].as_object().expect("versions by role");
        versions
            .extend(roles.iter().map(|(role, version)| (format!("role {role}"), version.as_u64().expect("a version"))));
        for (role, version) in versions {
            let before = highest.insert(role.clone(), version).unwrap_or(0);
            assert!(version >= before, "{role} went from {before} back to {version}");
        }
        let now: BTreeSet<&String> = round["targets"].as_object().expect("targets by path").keys().collect();
        assert!(now.is_superset(&seen), "{:?} vanished", seen.difference(&now));
        seen = now;
    }
}

fn python_arguments(fleet: &Fleet, client: &Path, more: &[&str]) -> Vec<std::ffi::OsString> {
    let mut arguments = Vec::new();
    for (name, value) in [
        ("--metadata", fleet.metadata()),
        ("--targets", fleet.targets()),
        ("--root", fleet.first_root()),
        ("--cache", client.join("cache")),
        ("--output", client.join("output")),
    ] {
        arguments.push(name.into());
        arguments.push(value.into_os_string());
    }
    arguments.extend(more.iter().map(Into::into));
    arguments
}

/// What [`python_tuf`] is to report as `targets` when the repository holds these files.
#[must_use]
pub fn expected(files: &Files) -> Value {
    let entry = |(path, content): (&String, &Vec<u8>)| {
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, content));
        (path.clone(), json!({"length": content.len(), "sha256": sha256}))
    };
    Value::Object(files.iter().map(entry).collect())
}

/// Every target as our own client verifies and downloads it, starting from `1.root.json`.
///
/// # Panics
///
/// If anything does not verify.
#[track_caller]
#[must_use]
pub fn our_client(fleet: &Fleet) -> Files {
    our_client_of(&fleet.path("tuf_repo"))
}

/// As [`our_client`], of any directory with `metadata` and `targets` in it.
///
/// # Panics
///
/// If anything does not verify.
#[track_caller]
#[must_use]
pub fn our_client_of(repository: &Path) -> Files {
    let metadata = repository.join("metadata");
    let root = std::fs::read(metadata.join("1.root.json")).expect("1.root.json");
    let (metadata, targets) = (Directory(metadata), Directory(repository.join("targets")));
    let mut client = Client::new(&root, metadata, targets, ClientLimits::default()).expect("a root to trust");
    client.refresh(SystemClock.now()).expect("the repository verifies");
    let listed = client.all_targets().expect("every role verifies");
    listed
        .into_keys()
        .map(|path| {
            let content = client.download(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            (path.to_string(), content)
        })
        .collect()
}

/// A directory in the place of a web server.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Fetch for Directory {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FetchError::new(error)),
        }
    }
}
