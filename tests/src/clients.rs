//! Clients that know nothing of the fleet but its first root: python-tuf, and our own.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use testkit::servers::{Process, Python};
use tuf_core::client::{Client, Fetch, FetchError, Limits};

use crate::{Files, Fleet};

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

/// A python-tuf client that comes back again and again, its cache kept, until the returned file exists.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
#[must_use]
pub fn python_reader(fleet: &Fleet) -> (Process, PathBuf) {
    let client = fleet.path("client").join("reader");
    std::fs::create_dir_all(&client).expect("a directory");
    let end = client.join("end");
    let until = end.to_str().expect("a path in UTF-8").to_owned();
    let arguments = python_arguments(fleet, &client, &["--all", "--loop-until", &until]);
    (Python::spawn("tuf_download.py", arguments, &[]), end)
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
    let root = std::fs::read(fleet.first_root()).expect("1.root.json");
    let (metadata, targets) = (Directory(fleet.metadata()), Directory(fleet.targets()));
    let mut client = Client::new(&root, metadata, targets, Limits::default()).expect("a root to trust");
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
struct Directory(PathBuf);

impl Fetch for Directory {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FetchError::new(error)),
        }
    }
}
