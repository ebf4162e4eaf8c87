//! The state that a client keeps in a directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::client::{Client, ClientError, ClientLimits, StateDirectory, StateError};

use crate::repo::{Files, Key, Repo, now, path, role};

const DIR: &str = "/state";

fn open(fs: &SimFs) -> Result<StateDirectory, StateError> {
    StateDirectory::open(Arc::new(fs.clone()), DIR, Duration::ZERO)
}

/// A client on the state in `fs`, which begins with root version 1.
fn client(fs: &SimFs, repo: &Repo) -> Client<Files, Files> {
    let state = open(fs).unwrap();
    state.initialize(&repo.metadata.get("1.root.json"), ClientLimits::default().root_bytes).unwrap();
    Client::open(state, repo.metadata.clone(), repo.contents.clone(), ClientLimits::default()).unwrap()
}

fn refreshed(fs: &SimFs, repo: &Repo) -> Client<Files, Files> {
    let mut client = client(fs, repo);
    client.refresh(now()).unwrap();
    client
}

fn kept(fs: &SimFs) -> Vec<String> {
    let names = fs.files().into_keys().filter_map(|path| path.strip_prefix(DIR).unwrap().to_str().map(str::to_owned));
    names.filter(|name| name.ends_with(".json")).collect()
}

/// A repository with a target in a delegated role whose name is no file name.
fn repository() -> Repo {
    let mut repo = Repo::new();
    repo.add("top");
    repo.delegate("team/app", &["team/*"]);
    let entry = repo.store("team/x", b"x");
    repo.delegated.get_mut(&role("team/app")).unwrap().targets.insert(path("team/x"), entry);
    repo.publish();
    repo
}

#[test]
fn the_next_run_asks_only_for_what_is_new() {
    let (fs, mut repo) = (SimFs::new(), repository());
    let mut first = refreshed(&fs, &repo);
    assert_eq!(kept(&fs), ["root.json", "snapshot.json", "targets.json", "timestamp.json"]);
    assert_eq!(first.download(&path("team/x")).unwrap(), b"x");
    assert_eq!(kept(&fs), ["root.json", "snapshot.json", "targets.json", "team%2Fapp.json", "timestamp.json"]);
    drop(first);
    repo.metadata.asked();

    let mut second = refreshed(&fs, &repo);
    assert_eq!(second.download(&path("team/x")).unwrap(), b"x");
    assert_eq!(repo.metadata.asked(), ["2.root.json", "timestamp.json"]);
    drop(second);

    repo.targets.version = 2;
    repo.add("top2");
    repo.publish();
    let mut third = refreshed(&fs, &repo);
    assert_eq!(third.download(&path("team/x")).unwrap(), b"x");
    assert_eq!(repo.metadata.asked(), ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]);
}

#[test]
fn the_files_are_those_of_the_publisher() {
    let (fs, repo) = (SimFs::new(), repository());
    let spaced = [&repo.metadata.get("timestamp.json")[..], b" "].concat();
    repo.metadata.put("timestamp.json", spaced.clone());
    drop(refreshed(&fs, &repo));
    assert_eq!(fs.contents("/state/timestamp.json"), Some(spaced));
    assert_eq!(fs.contents("/state/targets.json"), Some(repo.metadata.get("1.targets.json")));
}

#[test]
fn no_version_decreases_from_run_to_run() {
    let (fs, mut repo) = (SimFs::new(), repository());
    let old = repo.metadata.clone().0.borrow().clone();
    repo.targets.version = 2;
    repo.publish();
    drop(refreshed(&fs, &repo));
    // An attacker serves the old repository again, under the new names too.
    *repo.metadata.0.borrow_mut() = old;
    let error = client(&fs, &repo).refresh(now()).unwrap_err();
    assert!(matches!(error, ClientError::Rollback { trusted: 2, found: 1, .. }), "{error}");
    // The snapshot alone guards the versions of the other roles.
    fs.corrupt("/state/timestamp.json", "damage");
    repo.snapshot.version = 2;
    repo.targets.version = 1;
    repo.publish();
    let error = client(&fs, &repo).refresh(now()).unwrap_err();
    assert!(matches!(&error, ClientError::Rollback { role, .. } if role == "targets"), "{error}");
}

#[test]
fn metadata_verified_before_an_error_is_kept() {
    let (fs, mut repo) = (SimFs::new(), repository());
    drop(refreshed(&fs, &repo));
    repo.publish_root(2, &[&repo.root_key]);
    repo.publish_snapshot();
    repo.metadata.0.borrow_mut().remove("2.snapshot.json");
    assert!(matches!(client(&fs, &repo).refresh(now()), Err(ClientError::Missing { .. })));
    assert_eq!(fs.contents("/state/root.json"), Some(repo.metadata.get("2.root.json")));
    assert_eq!(fs.contents("/state/timestamp.json"), Some(repo.metadata.get("timestamp.json")));
    assert_eq!(fs.contents("/state/snapshot.json"), Some(repo.metadata.get("1.snapshot.json")));
    // The expiry of the last root matters after it is kept.
    let mut expired = repo.root(3);
    expired.expires = now();
    repo.metadata.put("3.root.json", crate::repo::file(&expired, &[&repo.root_key]));
    assert!(matches!(client(&fs, &repo).refresh(now()), Err(ClientError::Root(_))));
    assert_eq!(fs.contents("/state/root.json"), Some(repo.metadata.get("3.root.json")));
}

#[test]
fn damage_counts_as_a_missing_file() {
    type Plant<'a> = &'a dyn Fn(&SimFs, &Path);
    let damages: [(&str, Plant<'_>); 5] = [
        ("garbage", &|fs, file| fs.plant(file, "garbage")),
        ("empty", &|fs, file| fs.plant(file, "")),
        ("huge", &|fs, file| fs.plant(file, vec![b' '; 6_000_000])),
        ("a link", &|fs, file| fs.plant_symlink(file, "/elsewhere")),
        ("a FIFO", &|fs, file| fs.plant_fifo(file)),
    ];
    for (damage, plant) in damages {
        for name in ["timestamp", "snapshot", "targets", "team%2Fapp"] {
            let (fs, repo) = (SimFs::new(), repository());
            refreshed(&fs, &repo).download(&path("team/x")).unwrap();
            let file = Path::new(DIR).join(format!("{name}.json"));
            let sound = fs.contents(&file);
            plant(&fs, &file);
            let mut client = refreshed(&fs, &repo);
            assert_eq!(client.download(&path("team/x")).unwrap(), b"x", "{name}: {damage}");
            assert_eq!(fs.contents(&file), sound, "{name}: {damage}");
        }
    }
}

#[test]
fn a_planted_file_of_a_stranger_is_not_trusted() {
    let (fs, repo, stranger) = (SimFs::new(), repository(), repository());
    refreshed(&fs, &repo).download(&path("team/x")).unwrap();
    for (file, of) in
        [("timestamp.json", "timestamp.json"), ("snapshot.json", "1.snapshot.json"), ("targets.json", "1.targets.json")]
    {
        fs.plant(Path::new(DIR).join(file), stranger.metadata.get(of));
    }
    fs.plant("/state/team%2Fapp.json", stranger.metadata.get("1.team%2Fapp.json"));
    let mut client = refreshed(&fs, &repo);
    assert_eq!(client.download(&path("team/x")).unwrap(), b"x");
    assert_eq!(fs.contents("/state/targets.json"), Some(repo.metadata.get("1.targets.json")));
}

#[test]
fn the_trusted_root_must_be_there() {
    let (fs, repo) = (SimFs::new(), repository());
    let start = || Client::open(open(&fs).unwrap(), Files::default(), Files::default(), ClientLimits::default());
    assert!(matches!(start(), Err(ClientError::State(StateError::NoRoot { .. }))));
    let state = open(&fs).unwrap();
    for garbage in [&b"{}"[..], b"", b"garbage"] {
        assert!(matches!(state.initialize(garbage, 1000), Err(StateError::InvalidRoot(_))));
    }
    drop(state);
    drop(refreshed(&fs, &repo));
    fs.corrupt("/state/root.json", "damage");
    assert!(matches!(start(), Err(ClientError::Root(_))));
}

#[test]
fn a_state_that_has_a_root_keeps_it() {
    let (fs, repo) = (SimFs::new(), repository());
    repo.publish_root(2, &[&repo.root_key]);
    drop(refreshed(&fs, &repo));
    let state = open(&fs).unwrap();
    assert!(!state.initialize(&repo.metadata.get("1.root.json"), 10_000).unwrap());
    assert_eq!(fs.contents("/state/root.json"), Some(repo.metadata.get("2.root.json")));
}

#[test]
fn a_second_client_of_the_same_directory_is_refused() {
    let (fs, repo) = (SimFs::new(), repository());
    let first = refreshed(&fs, &repo);
    assert!(matches!(open(&fs), Err(StateError::InUse { .. })));
    drop(first);
    open(&fs).unwrap();
}

#[test]
fn roles_that_the_snapshot_no_longer_lists_are_removed() {
    let (fs, mut repo) = (SimFs::new(), repository());
    refreshed(&fs, &repo).download(&path("team/x")).unwrap();
    // Rotated keys let a snapshot drop a role.
    repo.snapshot_key = Key::new();
    repo.publish_root(2, &[&repo.root_key]);
    repo.snapshot.meta.remove(&role("team/app"));
    repo.delegated.clear();
    repo.targets.delegations = None;
    repo.targets.version = 2;
    repo.publish();
    drop(refreshed(&fs, &repo));
    assert_eq!(kept(&fs), ["root.json", "snapshot.json", "targets.json", "timestamp.json"]);
}

#[test]
fn a_write_that_fails_is_an_error_and_the_next_refresh_repairs_it() {
    let (sound, repo) = (SimFs::new(), repository());
    drop(refreshed(&sound, &repo));
    let operations = sound.operations();
    for n in 0..operations {
        let fs = SimFs::new();
        fs.fail_at(n, std::io::ErrorKind::StorageFull);
        let state = open(&fs);
        let Ok(state) = state else { continue };
        let root = repo.metadata.get("1.root.json");
        if state.initialize(&root, 10_000).is_err() {
            continue;
        }
        let mut client =
            Client::open(state, repo.metadata.clone(), repo.contents.clone(), ClientLimits::default()).unwrap();
        let _ = client.refresh(now());
        client.refresh(now()).unwrap();
        assert_eq!(client.download(&path("team/x")).unwrap(), b"x");
    }
}

/// A repository before and after its keys were rotated and its versions began again, as after an attack that pushed them up.
fn recovery() -> (Repo, Files) {
    let mut repo = repository();
    (repo.timestamp.version, repo.snapshot.version) = (1_000, 1_000);
    repo.publish();
    let before = Files::default();
    *before.0.borrow_mut() = repo.metadata.0.borrow().clone();
    repo.snapshot_key = Key::new();
    repo.publish_root(2, &[&repo.root_key]);
    // The timestamp keeps its key, so the old one still verifies: it has to be forgotten.
    (repo.timestamp.version, repo.snapshot.version) = (1_001, 0);
    repo.publish();
    (repo, before)
}

#[test]
fn a_crash_at_any_operation_loses_no_protection_and_blocks_no_recovery() {
    let (repo, before) = recovery();
    let started = SimFs::new();
    let client_of = |fs: &SimFs, metadata: &Files| {
        let state = open(fs)?;
        state.initialize(&before.get("1.root.json"), 10_000)?;
        Client::open(state, metadata.clone(), repo.contents.clone(), ClientLimits::default())
    };
    client_of(&started, &before).unwrap().refresh(now()).unwrap();
    let counted = started.fork();
    client_of(&counted, &repo.metadata).unwrap().refresh(now()).unwrap();
    let operations = counted.operations();
    assert!(operations > 10, "{operations}");
    for cut in 0..operations {
        for mode in CrashMode::all(cut as u64) {
            let fs = started.fork();
            fs.stop_at(cut);
            let cut_short = client_of(&fs, &repo.metadata).and_then(|mut client| client.refresh(now()));
            assert!(cut_short.is_err());
            fs.crash(mode);
            // Before the new root is kept, the old repository is the newest one known, and no older one is accepted.
            let known = client_of(&fs, &repo.metadata).unwrap();
            if known.root().version == 1 {
                assert_eq!(known.timestamp().unwrap().version, 1_001, "cut {cut}, {mode:?}");
                assert_eq!(known.snapshot().unwrap().version, 1_001, "cut {cut}, {mode:?}");
            }
            drop(known);
            // The recovery goes on.
            let mut client = client_of(&fs, &repo.metadata).unwrap();
            client.refresh(now()).unwrap_or_else(|error| panic!("cut {cut}, {mode:?}: {error}"));
            assert_eq!(client.snapshot().unwrap().version, 1);
            drop(client);
            // From now on the attacker's versions are below or foreign.
            assert!(client_of(&fs, &before).unwrap().refresh(now()).is_err(), "cut {cut}, {mode:?}");
        }
    }
    println!("{operations} crash points, each with 4 kinds of crash");
}
