//! The invariants of a repository, as checks of the files on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use testkit::scratch::FsFetch;
use tuf_core::client::{Client, ClientError, ClientLimits};
use tuf_core::time::UtcTime;

use crate::simulated::{DIR, NOW, Simulated, after, before, drops};

/// The files that a client downloads which trusts the first root.
fn download(machine: &Simulated) -> Result<BTreeMap<String, Vec<u8>>, ClientError> {
    let fs: Arc<dyn Fs> = Arc::new(machine.fs.clone());
    let root = durable::read_bounded(fs.as_ref(), &machine.config.trusted_root, 1 << 20).unwrap();
    let fetch = |dir: PathBuf| FsFetch::new(Arc::clone(&fs), dir);
    let (metadata, targets) = (machine.config.metadata_path(), machine.config.targets_path());
    let mut client = Client::new(&root, fetch(metadata), fetch(targets), ClientLimits::default())?;
    client.refresh(UtcTime::from_unix(NOW))?;
    let paths: Vec<_> = client.all_targets()?.into_keys().collect();
    paths.into_iter().map(|path| client.download(&path).map(|bytes| (path.to_string(), bytes))).collect()
}

/// Every drop is published, once, and the monitor is idle.
pub fn check(machine: &Simulated, base: &Simulated) {
    check_after(machine, base, &base.fs.files(), "uncut");
}

/// Right after a crash clients see the old state or the new one, whole. Without consistent snapshots a swap may be
/// under way; then the files that complete it are already durable.
pub fn check_crashed(machine: &Simulated, base: &Simulated, context: &str) {
    check_floors(machine, context);
    check_records(machine, context);
    let files = machine.fs.files();
    let told: Vec<&str> = drops()
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| files.contains_key(&public_receipt(machine, name)))
        .collect();
    // No receipt names a release that clients cannot see, or that a crash could undo.
    for name in &told {
        let own = Path::new(DIR).join("state/monitor/receipts");
        let noted = files
            .keys()
            .filter(|path| path.parent() == Some(&own))
            .any(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}."))));
        assert!(noted, "{context}: the producer of {name} has a receipt, the monitor's own state has none");
    }
    if !told.is_empty() {
        let seen =
            download(machine).unwrap_or_else(|error| panic!("{context}: a client fails after a receipt: {error}"));
        assert!(seen == after(), "{context}: a receipt is out, but a client sees {:?}", seen.keys());
    }
    if !machine.config.consistent_snapshot {
        check_swap(machine, base, context);
        return;
    }
    let seen = download(machine).unwrap_or_else(|error| panic!("{context}: a client fails after the crash: {error}"));
    assert!(seen == before() || seen == after(), "{context}: a client sees a part: {:?}", seen.keys());
    check_versions(machine, &base.fs.files(), context);
}

/// While a mount refuses writes: no drop is rejected, none is lost, and clients see the old state or the new one. Without
/// consistent snapshots a swap may be half done.
pub fn check_refused(machine: &Simulated, context: &str) {
    let files = machine.fs.files();
    let post = &machine.config.post_to_tuf_path;
    let rejected = machine.fs.paths().into_iter().find(|path| path.contains("/tuf_rejected_"));
    assert_eq!(rejected, None, "{context}");
    for (name, contents) in drops() {
        if let Some(receipt) = files.get(&public_receipt(machine, name)) {
            let receipt: serde_json::Value = serde_json::from_slice(receipt).unwrap();
            assert_eq!(receipt["outcome"], "published", "{context}: {receipt}");
            continue;
        }
        let there = ["ready", "processing"].iter().any(|stage| {
            let dir = post.join(format!("tuf_{stage}_{name}"));
            contents.iter().all(|(path, bytes)| files.get(&dir.join(path)).is_some_and(|there| there == bytes))
        });
        assert!(there, "{context}: drop {name} is gone without a receipt");
    }
    if machine.config.consistent_snapshot {
        let seen = download(machine).unwrap_or_else(|error| panic!("{context}: a client fails: {error}"));
        assert!(seen == before() || seen == after(), "{context}: a client sees a part: {:?}", seen.keys());
    }
}

/// Whether a client sees the drops already.
pub fn shows_the_drops(machine: &Simulated) -> bool {
    download(machine).is_ok_and(|seen| seen == after())
}

/// At the end.
pub fn check_after(machine: &Simulated, base: &Simulated, crashed: &BTreeMap<PathBuf, Vec<u8>>, context: &str) {
    let seen = download(machine).unwrap_or_else(|error| panic!("{context}: a client fails at the end: {error}"));
    assert_eq!(seen, after(), "{context}");
    check_versions(machine, &base.fs.files(), context);
    check_versions(machine, crashed, context);
    check_once(machine, context);
    check_receipts(machine, context);
}

/// At the end, after another user exchanged names in the drop directory: every drop ended, a rejected one too, and clients
/// see nothing but bytes of drops.
pub fn check_tampered(machine: &Simulated, base: &Simulated, context: &str) {
    let seen = download(machine).unwrap_or_else(|error| panic!("{context}: a client fails at the end: {error}"));
    let (earlier, drops) = (before(), drops());
    for (path, bytes) in &seen {
        let of_a_drop = drops.iter().flat_map(|(_, files)| files).any(|(name, posted)| name == path && posted == bytes);
        assert!(
            of_a_drop || earlier.get(path) == Some(bytes),
            "{context}: {path} is {:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    for (name, files) in &drops {
        let receipt = machine.fs.contents(public_receipt(machine, name));
        let receipt = receipt.unwrap_or_else(|| panic!("{context}: drop {name} has no receipt"));
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
        let published = receipt["outcome"] == "published";
        assert!(published || receipt["outcome"] == "rejected", "{context}: {receipt}");
        let missing = files.iter().find(|(path, _)| !seen.contains_key(*path));
        assert!(!published || missing.is_none(), "{context}: {name} is published without {missing:?}");
    }
    check_records(machine, context);
    check_versions(machine, &base.fs.files(), context);
}

/// Versioned names are created once and never change; the served timestamp never goes back.
fn check_versions(machine: &Simulated, earlier: &BTreeMap<PathBuf, Vec<u8>>, context: &str) {
    let now = machine.fs.files();
    for (path, bytes) in earlier {
        let name = path.file_name().unwrap().to_string_lossy();
        let versioned = path.starts_with(DIR.to_owned() + "/repo")
            && name
                .split('.')
                .next()
                .is_some_and(|first| !first.is_empty() && (first.parse::<u64>().is_ok() || first.len() == 64));
        if versioned {
            assert_eq!(now.get(path), Some(bytes), "{context}: {} changed", path.display());
        }
    }
    let served = Path::new(DIR).join("repo/metadata/timestamp.json");
    if let Some(old) = earlier.get(&served) {
        assert!(version(&now[&served]) >= version(old), "{context}: the timestamp went back");
    }
}

fn signed(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["signed"].clone()
}

fn version(bytes: &[u8]) -> u64 {
    signed(bytes)["version"].as_u64().unwrap()
}

/// Every drop is in exactly one record; snapshots only move forward, by whole records.
fn check_once(machine: &Simulated, context: &str) {
    let files = machine.fs.files();
    let below = |dir: &str, suffix: &str| {
        let mut found: Vec<(u64, serde_json::Value)> = files
            .iter()
            .filter(|(path, _)| path.parent() == Some(&Path::new(DIR).join(dir)))
            .filter_map(|(path, bytes)| {
                let name = path.file_name()?.to_string_lossy();
                Some((name.strip_suffix(suffix)?.parse().ok()?, signed(bytes)))
            })
            .collect();
        found.sort_by_key(|(number, _)| *number);
        found
    };
    let mut applied: BTreeMap<String, u64> = BTreeMap::new();
    let mut tables: BTreeSet<String> = BTreeSet::new();
    let mut table: BTreeMap<String, u64> = BTreeMap::new();
    for (_, record) in below("repo/log", ".record.json") {
        for request in record["results"].as_object().unwrap().keys() {
            *applied.entry(request.rsplit(':').next().unwrap().to_owned()).or_default() += 1;
        }
        for (role, entry) in record["roles"].as_object().unwrap() {
            let version = entry["version"].as_u64().unwrap();
            assert!(table.insert(format!("{role}.json"), version) < Some(version), "{context}: {role} goes back");
        }
        tables.insert(format!("{table:?}"));
    }
    let expected: BTreeMap<String, u64> =
        drops().iter().map(|(name, _)| (*name).to_owned()).chain(["0".to_owned()]).map(|name| (name, 1)).collect();
    assert_eq!(applied, expected, "{context}: drops per record");
    for (number, snapshot) in below("repo/metadata", ".snapshot.json") {
        let listed: BTreeMap<String, u64> = snapshot["meta"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(role, entry)| (role.clone(), entry["version"].as_u64().unwrap()))
            .collect();
        assert!(tables.contains(&format!("{listed:?}")), "{context}: snapshot {number} is no whole record: {listed:?}");
    }
}

/// A floor names only durable files.
fn check_floors(machine: &Simulated, context: &str) {
    let files = machine.fs.files();
    let floor = |role: &str, value: &str| {
        let file = files.get(&Path::new(DIR).join(format!("state/{role}/floor.json")))?;
        serde_json::from_slice::<serde_json::Value>(file).unwrap()["floor"].pointer(value)?.as_u64()
    };
    let there = |path: String| {
        assert!(files.contains_key(&Path::new(DIR).join(&path)), "{context}: a floor speaks of {path}, which is lost");
    };
    for role in ["targets", "snapshot"] {
        if let Some(number) = floor(role, "/record/number") {
            there(format!("repo/log/{number}.record.json"));
        }
    }
    for role in ["snapshot", "timestamp"] {
        if let Some(number @ 1..) = floor(role, "/snapshot") {
            there(format!("repo/metadata/{number}.snapshot.json"));
        }
    }
    if let Some(number) = floor("timestamp", "/timestamp") {
        let served = files.get(&Path::new(DIR).join("repo/metadata/timestamp.json")).map_or(0, |bytes| version(bytes));
        assert!(served >= number, "{context}: the served timestamp {served} is below the floor {number}");
    }
}

/// The files that a record lists are durable, and so are the bytes of every target that it adds.
fn check_records(machine: &Simulated, context: &str) {
    let files = machine.fs.files();
    let repository = Path::new(DIR).join("repo");
    let sha256 = |bytes: &[u8]| hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes));
    for (path, bytes) in files.range(repository.join("log")..) {
        if !path.to_string_lossy().ends_with(".record.json") {
            continue;
        }
        for (role, entry) in signed(bytes)["roles"].as_object().unwrap() {
            let name = format!("metadata/{}.{role}.json", entry["version"]);
            let metadata = files
                .get(&repository.join(&name))
                .unwrap_or_else(|| panic!("{context}: {} names {name}, which is lost", path.display()));
            assert_eq!(entry["sha256"], sha256(metadata), "{context}: {name} is not what {} names", path.display());
            for (target, entry) in signed(metadata)["targets"].as_object().unwrap() {
                let hash = entry["hashes"]["sha256"].as_str().unwrap();
                let (dir, file) = target
                    .rsplit_once('/')
                    .map_or((String::new(), target.as_str()), |(dir, file)| (format!("{dir}/"), file));
                let stored = files.get(&repository.join(format!("targets/{dir}{hash}.{file}")));
                assert!(
                    stored.is_some_and(|stored| sha256(stored) == hash),
                    "{context}: {name} signs {target}, which is lost"
                );
            }
        }
    }
}

/// Without consistent snapshots an unversioned name moves only after the timestamp that will show it is durable.
fn check_swap(machine: &Simulated, base: &Simulated, context: &str) {
    let (now, before) = (machine.fs.files(), base.fs.files());
    let metadata = Path::new(DIR).join("repo/metadata");
    let served = metadata.join("timestamp.json");
    let unversioned = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        let first = name.split('.').next().unwrap_or_default();
        path.starts_with(Path::new(DIR).join("repo"))
            && !path.starts_with(Path::new(DIR).join("repo/log"))
            && !first.is_empty()
            && first.parse::<u64>().is_err()
            && first.len() != 64
            && path.parent().is_none_or(|dir| !is_hash_dir(dir))
    };
    let moved = now.iter().find(|(path, bytes)| unversioned(path) && before.get(*path) != Some(bytes));
    let Some((moved, _)) = moved else { return };
    let old = version(&before[&served]);
    let signed = now.iter().any(|(path, bytes)| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with('.')
            && name.ends_with(".timestamp.json")
            && path.parent() == Some(&metadata)
            && version(bytes) > old
    });
    assert!(signed, "{context}: {} moved, but no newer timestamp is durable", moved.display());
}

/// `HASH.dir`, the names under which tough fetches target files.
fn is_hash_dir(dir: &Path) -> bool {
    dir.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.split('.').next().is_some_and(|first| first.len() == 64)
    })
}

fn public_receipt(machine: &Simulated, drop: &str) -> PathBuf {
    machine.config.post_to_tuf_path.join(format!("tuf_receipt_{drop}.json"))
}

/// Each drop has one receipt, which reports it as published.
fn check_receipts(machine: &Simulated, context: &str) {
    for (name, files) in drops() {
        let path = public_receipt(machine, name);
        let bytes = machine.fs.contents(&path).unwrap_or_else(|| panic!("{context}: drop {name} has no receipt"));
        let receipt: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(receipt["outcome"], "published", "{context}: {receipt}");
        assert_eq!(receipt["targets"], files.len(), "{context}: {receipt}");
    }
}
