//! A share restored to yesterday: roles resume above everything that clients have seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use durable_fs::Fs as _;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::canonical::value_to_canonical;
use tuf_core::client::{Client, ClientLimits, TrustedState};
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::key::KeyIdFormat;
use tuf_core::names::TopRole;
use tuf_core::time::UtcTime;
use tuf_repository::floor::FloorFile;
use tuf_repository::roles::recover::{self, FlooredRole};
use tuf_repository::roles::{RoleError, RoleErrorKind, Trust};

const ROLES: [&str; 3] = ["targets", "snapshot", "timestamp"];

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn scratch(options: Options) -> (SimFs, Scratch) {
    Scratch::simulated(options, now()).unwrap()
}

fn release(scratch: &Scratch, name: &str, files: &[(&str, &[u8])]) -> Result<(), RoleError> {
    let submission = scratch.submission(name, files).unwrap();
    scratch.targets().unwrap().commit(&[submission], now())?;
    publish(scratch)
}

fn publish(scratch: &Scratch) -> Result<(), RoleError> {
    scratch.snapshot().unwrap().update(now(), false)?;
    scratch.timestamp().unwrap().update(now(), false)?;
    Ok(())
}

fn client(scratch: &Scratch, state: &TrustedState) -> Result<TrustedState, String> {
    let limits = ClientLimits::default();
    let mut client = Client::from_state(state, scratch.fetch("metadata"), scratch.fetch("targets"), limits).unwrap();
    client.refresh(now()).map_err(|error| error.to_string())?;
    for path in client.all_targets().map_err(|error| error.to_string())?.keys() {
        client.download(path).map_err(|error| error.to_string())?;
    }
    Ok(client.export())
}

/// Brings the repository back to `then`; the private volumes stay as they are.
fn restore(fs: &SimFs, then: &SimFs) {
    let state = |path: &Path| path.to_string_lossy().contains("/state-");
    for path in fs.files().into_keys().filter(|path| !state(path)) {
        match then.contents(&path) {
            Some(bytes) => {
                fs.corrupt(&path, bytes);
            }
            None => durable_fs::Fs::remove_file(fs, &path).unwrap(),
        }
    }
    fs.sync_everything();
}

fn floor(scratch: &Scratch, role: &str) -> FloorFile {
    FloorFile::open(Arc::clone(&scratch.fs), &scratch.dir.join(format!("state-{role}"))).unwrap()
}

fn floored(role: &str) -> FlooredRole {
    match role {
        "targets" => FlooredRole::Targets,
        "snapshot" => FlooredRole::Snapshot,
        "timestamp" => FlooredRole::Timestamp,
        _ => panic!("{role} keeps no floor"),
    }
}

fn below(scratch: &Scratch, role: &str) -> Result<Vec<String>, RoleError> {
    let repository = scratch.repository();
    let mut trust = Trust::new(&scratch.root, Arc::clone(&repository.metadata), Vec::new()).unwrap();
    let floor = floor(scratch, role).get().unwrap_or_default();
    let below = recover::below_floor(floored(role), &repository, &mut trust, &floor, now())?;
    Ok(below.iter().map(ToString::to_string).collect())
}

/// A repository restored to before its last five releases, and a client that has seen them all.
fn restored(options: Options) -> (SimFs, Scratch, TrustedState) {
    let (fs, scratch) = scratch(options);
    release(&scratch, "old", &[("a", b"old"), ("pkg/b", b"old")]).unwrap();
    let yesterday = fs.fork();
    let first = TrustedState { root: scratch.root.clone(), ..TrustedState::default() };
    for round in 0..5 {
        let name = format!("new-{round}");
        release(&scratch, &name, &[("a", name.as_bytes()), (&name, b"new")]).unwrap();
    }
    let seen = client(&scratch, &first).unwrap();
    restore(&fs, &yesterday);
    (fs, scratch, seen)
}

#[test]
fn roles_resume_from_a_restored_share_above_what_clients_have_seen() {
    for options in Options::each_layout() {
        let (_, scratch, seen) = restored(options);
        for role in ROLES {
            assert_eq!(below(&scratch, role).unwrap().len(), 1, "{role}");
        }
        assert!(release(&scratch, "next", &[("a", b"next")]).is_err());
        assert!(client(&scratch, &seen).is_err());
        for role in ROLES {
            floor(&scratch, role).grant_recovery().unwrap();
        }
        release(&scratch, "next", &[("a", b"next")]).unwrap();
        let seen = client(&scratch, &seen).unwrap();
        for role in ROLES {
            assert_eq!(below(&scratch, role).unwrap(), [""; 0], "{role}");
            assert!(!floor(&scratch, role).recovery_granted().unwrap(), "{role}");
        }
        // Later releases work as before.
        release(&scratch, "after", &[("pkg/b", b"after")]).unwrap();
        client(&scratch, &seen).unwrap();
        let files = scratch.download_all(now()).unwrap();
        assert_eq!((files["a"].as_slice(), files["pkg/b"].as_slice(), files.len()), (&b"next"[..], &b"after"[..], 2));
    }
}

#[test]
fn running_roles_resume_too() {
    let options = Options::each_layout().remove(1);
    let (fs, scratch) = scratch(options);
    let (mut targets, mut snapshot, mut timestamp) =
        (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
    let mut round = |name: &str| -> Result<(), RoleError> {
        let submission = scratch.submission(name, &[("a", name.as_bytes())]).unwrap();
        targets.commit(&[submission], now())?;
        snapshot.update(now(), false)?;
        timestamp.update(now(), false)?;
        Ok(())
    };
    round("one").unwrap();
    let yesterday = fs.fork();
    round("two").unwrap();
    round("three").unwrap();
    let first = TrustedState { root: scratch.root.clone(), ..TrustedState::default() };
    let seen = client(&scratch, &first).unwrap();
    restore(&fs, &yesterday);
    assert_eq!(round("four").unwrap_err().kind(), RoleErrorKind::Alarm);
    for role in ROLES {
        floor(&scratch, role).grant_recovery().unwrap();
    }
    round("five").unwrap();
    client(&scratch, &seen).unwrap();
}

#[test]
fn a_floor_that_knows_no_role_version_leaves_out_enough() {
    for options in Options::each_layout() {
        let (fs, scratch, seen) = restored(options);
        let path = scratch.dir.join("state-targets/floor.json");
        let mut file: serde_json::Value = serde_json::from_slice(&fs.contents(&path).unwrap()).unwrap();
        file["format"] = 1.into();
        let floor_json = file["floor"].as_object_mut().unwrap();
        floor_json.remove("role_version");
        floor_json.remove("signed");
        fs.corrupt(&path, file.to_string().into_bytes());
        for role in ROLES {
            floor(&scratch, role).grant_recovery().unwrap();
        }
        release(&scratch, "next", &[("a", b"next")]).unwrap();
        client(&scratch, &seen).unwrap();
    }
}

#[test]
fn plain_files_of_another_day_are_replaced_when_roles_resume() {
    let options = Options::each_layout().remove(2);
    assert!(!options.consistent_snapshot);
    let (fs, scratch, seen) = restored(options);
    // A backup copies while releases go on: these bytes are of a later day than the metadata.
    assert!(fs.corrupt("/repo/targets/pkg/b", *b"later"));
    for role in ROLES {
        floor(&scratch, role).grant_recovery().unwrap();
    }
    release(&scratch, "next", &[("a", b"next")]).unwrap();
    client(&scratch, &seen).unwrap();
    assert_eq!(fs.contents("/repo/targets/pkg/b").unwrap(), b"old");
}

/// Replaces a lost floor, and grants the recovery of its role.
fn raise(scratch: &Scratch, role: &str, numbers: u64) {
    let repository = scratch.repository();
    let mut trust = Trust::new(&scratch.root, Arc::clone(&repository.metadata), Vec::new()).unwrap();
    let mut file = floor(scratch, role);
    let known = file.get().unwrap_or_default();
    let above = recover::floor_above(floored(role), &repository, &mut trust, &known, numbers, now()).unwrap();
    file.raise(|floor| *floor = above).unwrap();
    file.grant_recovery().unwrap();
}

#[test]
fn without_floors_roles_resume_as_far_above_as_requested() {
    for options in Options::each_layout() {
        for lost in [true, false] {
            let (fs, scratch, seen) = restored(options);
            for role in ROLES {
                if lost {
                    durable_fs::Fs::remove_file(&fs, &scratch.dir.join(format!("state-{role}/floor.json"))).unwrap();
                }
                raise(&scratch, role, 1_000);
                assert_eq!(below(&scratch, role).unwrap().len(), 1, "{role}");
            }
            release(&scratch, "next", &[("a", b"next")]).unwrap();
            let seen = client(&scratch, &seen).unwrap();
            for role in ROLES {
                assert_eq!(below(&scratch, role).unwrap(), [""; 0], "{role}");
            }
            release(&scratch, "after", &[("pkg/b", b"after")]).unwrap();
            client(&scratch, &seen).unwrap();
        }
    }
}

#[test]
fn running_roles_of_other_processes_find_the_snapshots_behind_a_gap() {
    for options in Options::each_layout() {
        let (_, scratch) = scratch(options);
        release(&scratch, "one", &[("a", b"one")]).unwrap();
        let (mut other, mut timestamp) = (scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
        let before = other.update(now(), false).unwrap().version;
        timestamp.update(now(), false).unwrap();

        raise(&scratch, "snapshot", 1_000);
        let submission = scratch.submission("two", &[("a", b"two")]).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
        let resumed = scratch.snapshot().unwrap().update(now(), false).unwrap().version;
        assert!(resumed > before + 1_000, "{resumed}");

        let later = UtcTime::from_unix(now().unix() + 60);
        assert_eq!(timestamp.update(later, false).unwrap().snapshot, Some(resumed));
        assert_eq!(scratch.download_all(later).unwrap()["a"], b"two");
        let found = other.update(later, false).unwrap();
        assert_eq!((found.version, found.changed), (resumed, false));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_is_not_called_a_rollback() {
    let files = [
        ("targets", "log/3.record.json"),
        ("snapshot", "log/3.record.json"),
        ("snapshot", "metadata/2.snapshot.json"),
        ("timestamp", "metadata/2.snapshot.json"),
    ];
    for (role, file) in files {
        let (fs, scratch) = scratch(Options::default());
        for name in ["one", "two"] {
            release(&scratch, name, &[(name, b"content")]).unwrap();
        }
        let path = scratch.dir.join(file);
        // A directory under its name stands for a file of another owner, too.
        let bytes = fs.contents(&path).unwrap();
        fs.remove_file(&path).unwrap();
        fs.plant_dir(&path);
        // A grant of an operator who believed another diagnosis must not lose the release either.
        floor(&scratch, role).grant_recovery().unwrap();
        let update = || match role {
            "targets" => scratch.targets().unwrap().reconcile(now(), false).map(drop),
            "snapshot" => scratch.snapshot().unwrap().update(now(), false).map(drop),
            _ => scratch.timestamp().unwrap().update(now(), false).map(drop),
        };
        // `recover` looks at the files of its role alone.
        let recover = below(&scratch, role).err();
        let own = [("targets", "log/3.record.json"), ("snapshot", "metadata/2.snapshot.json")];
        assert_eq!(recover.is_some(), own.contains(&(role, file)), "{role} {file}");
        for error in [Some(update().unwrap_err()), recover].into_iter().flatten() {
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            let said = error.to_string();
            assert!(said.starts_with(&format!("{name}, which this role has used before")), "{role}: {said}");
            assert_eq!(error.kind(), RoleErrorKind::Alarm);
        }
        fs.remove_dir(&path).unwrap();
        fs.plant(&path, bytes);
        update().unwrap();
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2);
    }
}

#[test]
fn floors_and_grants_of_a_newer_version_are_refused_with_the_word_to_upgrade() {
    let (fs, scratch, _) = restored(Options::default());
    let opened = || FloorFile::open(Arc::clone(&scratch.fs), &scratch.dir.join("state-snapshot"));
    let newer = *br#"{"format":9,"floor":{"snapshot":{"of":"another kind"}},"and":"more"}"#;
    fs.plant(scratch.dir.join("state-snapshot/recover.json"), newer);
    let error = opened().unwrap().recovery_granted().unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("upgrade this worker"), "{error}");
    fs.plant(scratch.dir.join("state-snapshot/floor.json"), newer);
    let error = opened().unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("upgrade this worker"), "{error}");
}

#[test]
fn a_record_of_a_newer_version_stops_its_readers_with_the_word_to_upgrade() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one", &[("a", b"one")]).unwrap();
    let next = fs.files().into_keys().filter(|path| path.starts_with("/repo/log")).count() + 1;
    let record = serde_json::json!({"_type": "record", "format": 9, "number": next, "and": {"more": true}});
    let signed = value_to_canonical(&record).unwrap();
    let signer = scratch.signer(TopRole::Targets).unwrap();
    let keyid = signer.public_key().key_id(KeyIdFormat::Spec);
    let signature = Signature { keyid, sig: signer.sign(&signed).unwrap() };
    fs.plant(format!("/repo/log/{next}.record.json"), Envelope::to_bytes(&signed, &[signature]));
    for result in [
        scratch.targets().unwrap().reconcile(now(), true).map(drop),
        scratch.snapshot().unwrap().update(now(), true).map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), RoleErrorKind::Alarm, "{error:?}");
        let said = error.to_string();
        assert!(said.contains("format 9") && said.contains("upgrade this worker"), "{said}");
    }
}

#[test]
fn a_role_whose_floor_cannot_be_written_stops() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one", &[("a", b"one")]).unwrap();
    let (mut targets, mut snapshot, mut timestamp) =
        (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
    let submission = scratch.submission("two", &[("a", b"two")]).unwrap();
    let mut commit = || targets.commit(std::slice::from_ref(&submission), now()).map(drop);
    let mut fold = || snapshot.update(now(), false).map(drop);
    let mut show = || timestamp.update(now(), false).map(drop);
    type Step<'a> = &'a mut dyn FnMut() -> Result<(), RoleError>;
    let steps: [(&str, Step<'_>); 3] = [("targets", &mut commit), ("snapshot", &mut fold), ("timestamp", &mut show)];
    for (role, step) in steps {
        fs.refuse_writes(format!("/repo/state-{role}"), std::io::ErrorKind::StorageFull);
        // The file is written; without the floor a repetition fails in the same way.
        for _ in 0..3 {
            let refused = step();
            let kind = refused.as_ref().map_err(RoleError::kind);
            assert_eq!(kind, Err(RoleErrorKind::Infrastructure), "{role}: {refused:?}");
        }
        fs.heal();
        step().unwrap();
    }
    assert_eq!(floor(&scratch, "targets").get().unwrap().record, floor(&scratch, "snapshot").get().unwrap().record);
    assert_eq!(scratch.download_all(now()).unwrap()["a"], b"two");
}

#[test]
fn a_grant_holds_for_the_state_it_was_given_for_and_once() {
    let (fs, scratch, _) = restored(Options::default());
    let grants: Vec<_> = ROLES.map(|role| scratch.dir.join(format!("state-{role}/recover.json"))).into();
    for role in ROLES {
        floor(&scratch, role).grant_recovery().unwrap();
    }
    let kept: Vec<Vec<u8>> = grants.iter().map(|path| fs.contents(path).unwrap()).collect();
    release(&scratch, "next", &[("a", b"next")]).unwrap();
    let then = fs.fork();
    release(&scratch, "later", &[("a", b"later")]).unwrap();
    restore(&fs, &then);
    for (path, bytes) in grants.iter().zip(kept) {
        fs.plant(path.clone(), bytes);
    }
    assert_eq!(release(&scratch, "again", &[("a", b"again")]).unwrap_err().kind(), RoleErrorKind::Alarm);
    assert_eq!(publish(&scratch).unwrap_err().kind(), RoleErrorKind::Alarm);
}

#[test]
fn a_recovery_cut_short_at_any_operation_is_finished_by_running_it_again() {
    let (base, scratch, seen) = restored(Options::each_layout().remove(1));
    for role in ROLES {
        floor(&scratch, role).grant_recovery().unwrap();
    }
    let fork = || {
        let fs = base.fork();
        (fs.clone(), scratch.on(Arc::new(fs)))
    };
    let go_on = |scratch: &Scratch| -> Result<(), RoleError> {
        scratch.targets().unwrap().reconcile(now(), false)?;
        publish(scratch)
    };
    let (fs, whole) = fork();
    go_on(&whole).unwrap();
    for cut in 1..=fs.operations() {
        for mode in CrashMode::all(cut as u64) {
            let (fs, scratch) = fork();
            fs.stop_at(cut);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| go_on(&scratch)));
            fs.crash(mode);
            go_on(&scratch).unwrap_or_else(|error| panic!("{mode:?} {cut}: {error}"));
            client(&scratch, &seen).unwrap_or_else(|error| panic!("{mode:?} {cut}: {error}"));
        }
    }
}

#[test]
fn a_clock_that_ran_back_stops_signing_until_it_has_caught_up() {
    let (_, scratch) = scratch(Options::default());
    release(&scratch, "one", &[("a", b"one")]).unwrap();
    let back = now().plus_seconds(-3_600);
    let submission = scratch.submission("two", &[("a", b"two")]).unwrap();
    let alarm = |result: Result<(), RoleError>| match result {
        Err(error) if error.kind() == RoleErrorKind::Alarm => {
            assert!(error.to_string().contains("before the last signing"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    alarm(scratch.targets().unwrap().commit(std::slice::from_ref(&submission), back).map(drop));
    alarm(scratch.snapshot().unwrap().update(back, true).map(drop));
    alarm(scratch.timestamp().unwrap().update(back, true).map(drop));
    let step = scratch.timestamp().unwrap().update(now().plus_seconds(-2), true);
    assert_eq!(step.unwrap_err().kind(), RoleErrorKind::Waiting);
    scratch.targets().unwrap().commit(&[submission], now()).unwrap();
    publish(&scratch).unwrap();
}

#[test]
fn a_clock_that_was_years_ahead_is_forgiven_when_granted() {
    let (_, scratch) = scratch(Options::default());
    let ahead = now().plus_seconds(3 * 365 * 86_400);
    let submission = scratch.submission("one", &[("a", b"one")]).unwrap();
    scratch.targets().unwrap().commit(&[submission], ahead).unwrap();
    scratch.snapshot().unwrap().update(ahead, false).unwrap();
    scratch.timestamp().unwrap().update(ahead, false).unwrap();
    assert!(release(&scratch, "two", &[("a", b"two")]).is_err());
    for role in ROLES {
        assert_eq!(below(&scratch, role).unwrap().len(), 1, "{role}");
        floor(&scratch, role).grant_recovery().unwrap();
    }
    release(&scratch, "two", &[("a", b"two")]).unwrap();
    assert_eq!(scratch.download_all(now()).unwrap()["a"], b"two");
}
