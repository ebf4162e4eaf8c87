//! Names that strangers create in the shared directories: they move no number, stop no role and delete nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::Fs;
use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::canonical::value_to_canonical;
use tuf_core::client::{Client, ClientLimits, TrustedState};
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::key::KeyIdFormat;
use tuf_core::names::TopRole;
use tuf_core::time::UtcTime;
use tuf_repository::floor::FloorFile;
use tuf_repository::retention::{Retention, RetentionPolicy};
use tuf_repository::roles::recover::{self, FlooredRole};
use tuf_repository::roles::{RoleError, RoleErrorKind, Trust};

const DAY: i64 = 86_400;
const ROLES: [(&str, FlooredRole); 3] =
    [("targets", FlooredRole::Targets), ("snapshot", FlooredRole::Snapshot), ("timestamp", FlooredRole::Timestamp)];

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn scratch(options: Options) -> (SimFs, Scratch) {
    Scratch::simulated(options, now()).unwrap()
}

fn release(scratch: &Scratch, name: &str) -> Result<(), RoleError> {
    let submission = scratch.submission(name, &[(name, name.as_bytes())]).unwrap();
    scratch.targets().unwrap().commit(&[submission], now())?;
    scratch.snapshot().unwrap().update(now(), false)?;
    scratch.timestamp().unwrap().update(now(), false)?;
    Ok(())
}

/// Versions of the served timestamp and of the snapshot that it names.
fn served(scratch: &Scratch) -> (u64, u64) {
    let bytes =
        durable_fs::durable::read_bounded(scratch.fs.as_ref(), &scratch.dir.join("metadata/timestamp.json"), 1 << 20);
    let file: serde_json::Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
    let version = |value: &serde_json::Value| value["version"].as_u64().unwrap();
    (version(&file["signed"]), version(&file["signed"]["meta"]["snapshot.json"]))
}

/// Signs metadata or a record, as a thief of the role's key can.
fn signed(scratch: &Scratch, role: TopRole, body: &serde_json::Value) -> Vec<u8> {
    let signed = value_to_canonical(body).unwrap();
    let signer = scratch.signer(role).unwrap();
    let keyid = signer.public_key().key_id(KeyIdFormat::Spec);
    Envelope::to_bytes(&signed, &[Signature { keyid, sig: signer.sign(&signed).unwrap() }])
}

fn floor(scratch: &Scratch, role: &str) -> FloorFile {
    FloorFile::open(Arc::clone(&scratch.fs), &scratch.dir.join(format!("state-{role}"))).unwrap()
}

const FAR: [&str; 3] = ["9223372036854775806", "9007199254740990", "1000000"];

/// Every kind of file with a number.
fn far_names() -> Vec<String> {
    let kinds =
        ["metadata/N.snapshot.json", "metadata/.N.timestamp.json", "metadata/N.targets.json", "metadata/N.root.json"];
    let log = ["log/N.record.json", "log/N.base.json"];
    let names = kinds.iter().chain(&log);
    names.flat_map(|kind| FAR.map(|number| format!("/repo/{}", kind.replace('N', number)))).collect()
}

#[test]
fn a_name_far_above_the_next_number_moves_no_number() {
    for options in Options::each_layout() {
        for first in [true, false] {
            let (fs, scratch) = scratch(options);
            if !first {
                release(&scratch, "one").unwrap();
            }
            let before = if first { (0, 0) } else { served(&scratch) };
            for name in far_names() {
                fs.plant(name, "");
            }
            release(&scratch, "two").unwrap();
            assert_eq!(served(&scratch), (before.0 + 1, before.1 + 1), "{options:?}");
            let head =
                scratch.targets().map(|mut role| role.outcome_of("two", now()).unwrap().unwrap().record).unwrap();
            assert!(head <= 3, "{head}");
            assert!(scratch.download_all(now()).unwrap().contains_key("two"));
            // Each role names the files, and forgets them when they are gone.
            let (mut targets, mut snapshot, mut timestamp) =
                (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
            let mut notices = || {
                targets.reconcile(now(), false).unwrap();
                snapshot.update(now(), false).unwrap();
                timestamp.update(now(), false).unwrap();
                [
                    targets.notices().collect::<Vec<_>>().join("\n"),
                    snapshot.notices().collect::<Vec<_>>().join("\n"),
                    timestamp.notices().collect::<Vec<_>>().join("\n"),
                ]
            };
            let texts = notices();
            assert!(texts[0].contains("1000000.record.json and 2 more"), "{texts:?}");
            assert!(texts[1].contains("1000000.snapshot.json") && texts[1].contains("record.json"), "{texts:?}");
            assert!(texts[2].contains(".1000000.timestamp.json"), "{texts:?}");
            for name in far_names() {
                fs.remove_file(Path::new(&name)).unwrap();
            }
            assert_eq!(notices(), [""; 3]);
        }
    }
}

#[test]
fn running_roles_are_not_moved_by_far_names_either() {
    let (fs, scratch) = scratch(Options::default());
    let (mut targets, mut snapshot, mut timestamp) =
        (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
    for round in 1..4 {
        let name = format!("round-{round}");
        let submission = scratch.submission(&name, &[(&name, b"content")]).unwrap();
        targets.commit(&[submission], now()).unwrap();
        snapshot.update(now(), false).unwrap();
        timestamp.update(now(), false).unwrap();
        assert_eq!(served(&scratch), (round, round));
        for name in far_names() {
            fs.plant(name, "garbage");
        }
    }
}

#[test]
fn a_garbage_base_stops_no_new_repository() {
    let (fs, scratch) = scratch(Options::default());
    fs.plant("/repo/log/5.base.json", "garbage");
    release(&scratch, "one").unwrap();
    assert_eq!(scratch.download_all(now()).unwrap().len(), 1);
}

#[test]
fn names_are_stepped_over_one_by_one_up_to_a_limit() {
    for options in Options::each_layout() {
        let (fs, scratch) = scratch(options);
        release(&scratch, "one").unwrap();
        let head = scratch.targets().map(|mut role| role.outcome_of("one", now()).unwrap().unwrap().record).unwrap();
        let names: Vec<String> = (2..=65)
            .flat_map(|n| {
                let record = head + n - 1;
                [
                    format!("metadata/{n}.snapshot.json"),
                    format!("metadata/.{n}.timestamp.json"),
                    format!("log/{record}.record.json"),
                ]
            })
            .map(|name| format!("/repo/{name}"))
            .collect();
        for name in &names {
            fs.plant(name, "garbage");
        }
        let submission = scratch.submission("two", &[("two", b"two")]).unwrap();
        let (mut targets, mut snapshot, mut timestamp) =
            (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
        for error in [
            targets.commit(std::slice::from_ref(&submission), now()).map(drop).unwrap_err(),
            snapshot.update(now(), true).map(drop).unwrap_err(),
            timestamp.update(now(), true).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), RoleErrorKind::Alarm, "{error}");
            assert!(error.to_string().contains("remove"), "{error}");
        }
        // With one name less the next number is above them.
        for name in &names[names.len() - 3..] {
            fs.remove_file(Path::new(name)).unwrap();
        }
        targets.commit(&[submission], now()).unwrap();
        assert_eq!(snapshot.update(now(), false).unwrap().version, 65);
        assert_eq!(timestamp.update(now(), false).unwrap().version, 65);
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2, "{options:?}");
    }
}

#[test]
fn a_directory_a_link_or_an_endless_file_under_the_next_name_stops_no_role() {
    type Plant = fn(&SimFs, &str);
    let plants: [Plant; 4] = [
        |fs, name| fs.plant_dir(name),
        |fs, name| fs.plant_symlink(name, "/etc/passwd"),
        |fs, name| fs.plant_fifo(name),
        |fs, name| fs.plant(name, vec![b' '; (64 << 10) + 1]),
    ];
    for options in Options::each_layout() {
        for plant in plants {
            let (fs, scratch) = scratch(options);
            release(&scratch, "one").unwrap();
            let names = [
                "metadata/3.targets.json",
                "metadata/2.snapshot.json",
                "metadata/.2.timestamp.json",
                "log/3.record.json",
            ];
            for name in names {
                plant(&fs, &format!("/repo/{name}"));
            }
            plant(&fs, "/repo/log/9.base.json");
            let (mut targets, mut snapshot, mut timestamp) =
                (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
            for round in ["two", "three"] {
                let submission = scratch.submission(round, &[(round, b"content")]).unwrap();
                targets.commit(&[submission], now()).unwrap();
                snapshot.update(now(), false).unwrap();
                timestamp.update(now(), false).unwrap();
            }
            release(&scratch, "four").unwrap();
            assert_eq!(scratch.download_all(now()).unwrap().len(), 4, "{options:?}");
        }
    }
}

/// The numbers that the version before this one signed when it found such a name.
#[test]
fn recover_repairs_numbers_that_a_planted_name_had_moved() {
    for options in Options::each_layout() {
        let (fs, scratch) = scratch(options);
        release(&scratch, "one").unwrap();
        let moved = i64::MAX as u64;
        for (role, _) in ROLES {
            floor(&scratch, role)
                .raise(|floor| {
                    floor.snapshot = moved;
                    floor.timestamp = moved;
                    floor.role_version = moved;
                    floor.record =
                        floor.record.map(|record| tuf_repository::floor::RecordFloor { number: moved, ..record });
                })
                .unwrap();
        }
        assert_eq!(release(&scratch, "two").unwrap_err().kind(), RoleErrorKind::Alarm);
        for (role, floored) in ROLES {
            let repository = scratch.repository();
            let mut trust = Trust::new(&scratch.root, Arc::clone(&repository.metadata), Vec::new()).unwrap();
            let known = floor(&scratch, role).get().unwrap();
            assert!(
                !recover::below_floor(floored, &repository, &mut trust, &known, now()).unwrap().is_empty(),
                "{role}"
            );
            floor(&scratch, role).grant_recovery().unwrap();
        }
        release(&scratch, "two").unwrap();
        release(&scratch, "three").unwrap();
        let (timestamp, snapshot) = served(&scratch);
        assert!(timestamp < 100 && snapshot < 100, "{timestamp} {snapshot}");
        for (role, _) in ROLES {
            let floor = floor(&scratch, role).get().unwrap();
            assert!(floor.record.is_none_or(|record| record.number < 100), "{role}: {floor:?}");
        }
        assert_eq!(scratch.download_all(now()).unwrap().len(), 3);
        drop(fs);
    }
}

#[test]
fn nothing_is_signed_beyond_the_highest_number() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one").unwrap();
    let bytes = fs.contents("/repo/metadata/1.snapshot.json").unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let highest = (1_u64 << 53) - 1;
    file["signed"]["version"] = highest.into();
    // As the thief of the snapshot key can.
    fs.plant(format!("/repo/metadata/{highest}.snapshot.json"), signed(&scratch, TopRole::Snapshot, &file["signed"]));
    let error = scratch.snapshot().unwrap().update(now(), true).unwrap_err();
    assert_eq!(error.kind(), RoleErrorKind::Alarm);
    assert!(error.to_string().contains("new key") && error.to_string().contains("recover"), "{error}");
}

#[test]
fn a_garbage_root_stops_no_role() {
    type Plant = fn(&SimFs, &str);
    let plants: [Plant; 4] = [
        |fs, name| fs.plant(name, "garbage"),
        |fs, name| fs.plant(name, vec![b' '; 512_001]),
        |fs, name| fs.plant_dir(name),
        |fs, name| fs.plant_symlink(name, "/etc/passwd"),
    ];
    for plant in plants {
        let (fs, scratch) = scratch(Options::default());
        release(&scratch, "one").unwrap();
        plant(&fs, "/repo/metadata/2.root.json");
        release(&scratch, "two").unwrap();
        let mut timestamp = scratch.timestamp().unwrap();
        timestamp.update(now(), false).unwrap();
        let notice = timestamp.notices().collect::<Vec<_>>().join("\n");
        assert!(notice.contains("2.root.json") && notice.contains("remove it"), "{notice}");
        // A fault of the machine is no garbage.
        fs.fail_path("/repo/metadata/2.root.json", std::io::ErrorKind::Other);
        assert_eq!(timestamp.update(now(), false).unwrap_err().kind(), RoleErrorKind::Infrastructure);
    }
}

/// A client that keeps its state sees no rollback, whichever file is planted.
#[test]
fn a_client_that_returns_after_far_names_were_planted_goes_on() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one").unwrap();
    let first = TrustedState { root: scratch.root.clone(), ..TrustedState::default() };
    let update = |state: &TrustedState| {
        let limits = ClientLimits::default();
        let mut client =
            Client::from_state(state, scratch.fetch("metadata"), scratch.fetch("targets"), limits).unwrap();
        client.refresh(now()).unwrap();
        client.export()
    };
    let seen = update(&first);
    for name in far_names().into_iter().filter(|name| !name.contains("root")) {
        fs.plant(name, "");
    }
    release(&scratch, "two").unwrap();
    update(&seen);
}

#[test]
fn a_stolen_timestamp_key_deletes_no_snapshot() {
    for (named, hash) in [(1_u64 << 40, None), (7, Some("00".repeat(32)))] {
        let (fs, scratch) = scratch(Options::default());
        release(&scratch, "one").unwrap();
        let mut file: serde_json::Value =
            serde_json::from_slice(&fs.contents("/repo/metadata/timestamp.json").unwrap()).unwrap();
        file["signed"]["version"] = 1_000.into();
        file["signed"]["expires"] = "2040-01-01T00:00:00Z".into();
        let mut meta = serde_json::json!({ "version": named });
        if let Some(hash) = hash {
            meta["hashes"] = serde_json::json!({ "sha256": hash });
        }
        file["signed"]["meta"]["snapshot.json"] = meta;
        fs.corrupt("/repo/metadata/timestamp.json", signed(&scratch, TopRole::Timestamp, &file["signed"]));
        let files = |fs: &SimFs| {
            fs.files()
                .into_keys()
                .filter(|path| !path.starts_with("/repo/state-snapshot") && !path.starts_with("/repo/state-targets"))
                .collect::<Vec<_>>()
        };
        let before = files(&fs);
        let open = |role: &str| {
            Retention::open(
                Arc::clone(&scratch.fs),
                &scratch.dir.join(format!("state-{role}")),
                RetentionPolicy::new(0, DAY),
            )
            .unwrap()
        };
        let (mut snapshot_marks, mut targets_marks) = (open("snapshot"), open("targets"));
        for day in 0..10 {
            let now = now().plus_seconds(day * DAY / 4);
            fs.set_time(now.unix());
            scratch.snapshot().unwrap().collect(&mut snapshot_marks, now).unwrap();
            scratch.targets().unwrap().collect(&mut targets_marks, now, true).unwrap();
        }
        assert_eq!(files(&fs), before);
    }
}

#[test]
fn marks_of_a_stolen_key_never_reach_the_newest_snapshot() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one").unwrap();
    // As the version before this one noted them.
    let marks = serde_json::json!({"format": 1, "marks": [
        {"snapshot": 1_u64 << 40, "time": now().plus_seconds(-10 * DAY), "timestamp": 1_u64 << 40},
    ]});
    fs.plant("/repo/state-snapshot/retention.json", marks.to_string());
    let mut retention =
        Retention::open(Arc::clone(&scratch.fs), Path::new("/repo/state-snapshot"), RetentionPolicy::new(0, DAY))
            .unwrap();
    scratch.snapshot().unwrap().collect(&mut retention, now()).unwrap();
    assert!(fs.contents("/repo/metadata/1.snapshot.json").is_some());
}

#[test]
fn a_timestamp_of_a_stolen_key_moves_no_floor_of_the_snapshot() {
    let (fs, scratch) = scratch(Options::default());
    release(&scratch, "one").unwrap();
    let mut file: serde_json::Value =
        serde_json::from_slice(&fs.contents("/repo/metadata/timestamp.json").unwrap()).unwrap();
    file["signed"]["version"] = 5.into();
    file["signed"]["meta"]["snapshot.json"] = serde_json::json!({ "version": 1_u64 << 40 });
    fs.corrupt("/repo/metadata/timestamp.json", signed(&scratch, TopRole::Timestamp, &file["signed"]));
    assert_eq!(scratch.timestamp().unwrap().update(now(), false).unwrap_err().kind(), RoleErrorKind::Alarm);
    assert_eq!(floor(&scratch, "timestamp").get().unwrap().snapshot, 1);
    assert_eq!(scratch.snapshot().unwrap().update(now(), true).unwrap().version, 2);
}

#[test]
fn a_lock_that_another_process_holds_stops_no_release() {
    for options in Options::each_layout() {
        let (fs, scratch) = scratch(options);
        release(&scratch, "one").unwrap();
        let held = fs.lock(Path::new("/repo/metadata/.timestamp.lock"), Duration::ZERO).unwrap();
        let submission = scratch.submission("two", &[("two", b"two")]).unwrap();
        scratch.targets().unwrap().commit(&[submission], now()).unwrap();
        scratch.snapshot().unwrap().update(now(), false).unwrap();
        let mut timestamp = scratch.timestamp().unwrap();
        assert!(timestamp.update(now(), false).unwrap().changed);
        assert_eq!(scratch.download_all(now()).unwrap().len(), 2);
        let notice = timestamp.notices().collect::<Vec<_>>().join("\n");
        assert!(notice.contains(".timestamp.lock") && notice.contains("lslocks"), "{notice}");
        drop(held);
        timestamp.update(now(), true).unwrap();
        assert_eq!(timestamp.notices().count(), 0);
    }
}
