//! Timestamp and snapshot, and the files they list.

use serde_json::json;
use testkit::scratch::Options;

use crate::repo::{Repo, bins, says};

#[test]
fn a_timestamp_that_lists_more_than_the_snapshot() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["meta"]["targets.json"] = json!({"version": 1}));
    repo.finds(&["T1"]);
}

#[test]
fn a_timestamp_that_does_not_list_the_snapshot() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["meta"] = json!({}));
    let report = repo.audit();
    says(&report, "T1", "snapshot.json");
    // The newest snapshot on disk is looked at instead.
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_timestamp_that_is_missing() {
    let mut repo = Repo::new();
    repo.metadata.files.remove("timestamp.json");
    let report = repo.finds(&["T2"]);
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_timestamp_under_a_versioned_name() {
    let mut repo = Repo::new();
    let bytes = repo.metadata.files.remove("timestamp.json").unwrap();
    repo.metadata.files.insert("2.timestamp.json".into(), bytes);
    repo.finds(&["T2"]);
}

#[test]
fn a_timestamp_without_hashes() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| {
        signed["meta"]["snapshot.json"].as_object_mut().unwrap().remove("hashes");
    });
    assert!(repo.finds(&["T3"]).is_valid());
}

#[test]
fn a_timestamp_that_is_too_large() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| {
        signed.insert("note".into(), "x".repeat(17_000).into());
    });
    let report = repo.finds(&["L1"]);
    says(&report, "L1", "16384");
}

#[test]
fn a_snapshot_that_is_missing() {
    let mut repo = Repo::new();
    let file = repo.current("snapshot");
    repo.metadata.files.remove(&file);
    let report = repo.finds(&["N3"]);
    assert_eq!(report.findings[0].subject, file);
}

#[test]
fn a_snapshot_that_does_not_list_targets() {
    let mut repo = Repo::new();
    repo.edit("snapshot", |signed| signed["meta"] = json!({}));
    // Older snapshots list it, too.
    repo.finds(&["N1", "N6"]);
}

#[test]
fn a_snapshot_that_lacks_a_delegated_role() {
    let mut repo = Repo::with(Options { layout: bins(4), ..Options::default() });
    repo.edit("snapshot", |signed| {
        signed["meta"].as_object_mut().unwrap().remove("bin_c-f.json");
    });
    // Older snapshots list the bin, too; a target that was in it is not offered any more.
    let report = repo.finds(&["N2", "N6"]);
    says(&report, "N2", "bin_c-f.json");
}

#[test]
fn a_listed_role_that_is_missing() {
    let mut repo = Repo::new();
    let file = repo.current("targets");
    repo.metadata.files.remove(&file);
    let report = repo.finds(&["N3"]);
    assert_eq!(report.findings[0].subject, file);
}

#[test]
fn a_file_of_another_length() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["meta"]["snapshot.json"]["length"] = 5.into());
    let report = repo.finds(&["N4"]);
    says(&report, "N4", "lists 5");
}

#[test]
fn a_file_with_another_hash() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["meta"]["snapshot.json"]["hashes"]["sha256"] = "ab".repeat(32).into());
    let report = repo.finds(&["N4"]);
    says(&report, "N4", "sha256 is");
}

#[test]
fn a_role_whose_version_went_back() {
    let mut repo = Repo::new();
    let old = repo.current("targets");
    let version = repo.signed(&old)["version"].as_u64().unwrap();
    // The version before is still there.
    let before = format!("{}.targets.json", version - 1);
    let bytes = repo.metadata.files[&before].clone();
    repo.next_snapshot(|signed| signed["meta"]["targets.json"]["version"] = (version - 1).into());
    repo.put("targets", &before, bytes);
    let report = repo.finds(&["N5"]);
    says(&report, "N5", "targets");
}

#[test]
fn a_role_that_vanished() {
    let mut repo = Repo::new();
    repo.add_role("team", &[]);
    repo.next_snapshot(|signed| {
        signed["meta"].as_object_mut().unwrap().remove("team.json");
    });
    let report = repo.finds(&["N6"]);
    says(&report, "N6", "team");
}

#[test]
fn versions_may_go_back_after_the_snapshot_key_was_replaced() {
    let mut repo = Repo::new();
    repo.add_role("team", &[]);
    let (root, new) = (repo.key("root"), crate::repo::Key::new());
    let mut signed = repo.signed(&repo.current("snapshot"));
    signed["meta"].as_object_mut().unwrap().remove("team.json");
    let version = signed["version"].as_u64().unwrap() + 1;
    signed["version"] = version.into();
    let bytes = crate::repo::envelope(&signed, &[(&new.id, new.signer.as_ref())]);
    repo.edit("timestamp", |signed| signed["meta"]["snapshot.json"]["version"] = version.into());
    let old = repo.key("snapshot");
    repo.next_root(&[&root], |signed| {
        signed["keys"].as_object_mut().unwrap().remove(&old.id);
        signed["keys"][&new.id] = new.public();
        signed["roles"]["snapshot"]["keyids"] = json!([new.id]);
    });
    let file = repo.current("snapshot");
    repo.put("snapshot", &file, bytes);
    repo.finds(&[]);
}

#[test]
fn a_listed_role_that_nobody_delegates_to_is_only_noted() {
    let mut repo = Repo::new();
    repo.add_role("team", &[]);
    let report = repo.finds(&[]);
    says(&report, "N7", "team");
}

#[test]
fn a_snapshot_that_nobody_lists_yet_is_only_noted() {
    let mut repo = Repo::new();
    let bytes = repo.metadata.files[&repo.current("snapshot")].clone();
    repo.metadata.files.insert("99.snapshot.json".into(), bytes);
    let report = repo.finds(&[]);
    says(&report, "N8", "99.snapshot.json");
}

#[test]
fn a_snapshot_that_is_too_large_for_clients() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| {
        signed["meta"]["snapshot.json"].as_object_mut().unwrap().remove("length");
    });
    repo.edit("snapshot", |signed| {
        signed.insert("note".into(), "x".repeat(2_000_001).into());
    });
    let report = repo.finds(&["L1", "T3"]);
    says(&report, "L1", "2000000");
}

#[test]
fn targets_that_are_too_large_for_php_tuf() {
    let mut repo = Repo::new();
    repo.edit("snapshot", |signed| {
        signed["meta"]["targets.json"].as_object_mut().unwrap().remove("length");
    });
    repo.edit("targets", |signed| {
        signed.insert("note".into(), "x".repeat(100_000).into());
    });
    assert!(repo.finds(&["L2"]).is_valid());
}

#[test]
fn targets_that_are_too_large_for_clients() {
    let mut repo = Repo::new();
    repo.edit("snapshot", |signed| {
        signed["meta"]["targets.json"].as_object_mut().unwrap().remove("length");
    });
    repo.edit("targets", |signed| {
        signed.insert("note".into(), "x".repeat(5_000_001).into());
    });
    repo.finds(&["L1"]);
}
