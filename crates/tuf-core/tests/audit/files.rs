//! Target files.

use serde_json::json;
use testkit::scratch::Options;

use crate::repo::{Repo, hashed_name, says, sha256};

#[test]
fn a_target_file_that_is_missing() {
    let mut repo = Repo::new();
    let name = hashed_name("a", &sha256(b"first"));
    repo.targets.files.remove(&name).unwrap();
    let report = repo.finds(&["P6"]);
    assert_eq!(report.findings[0].subject, name);
}

#[test]
fn a_target_file_that_is_missing_without_consistent_snapshots() {
    let mut repo = Repo::with(Options { consistent_snapshot: false, ..Options::default() });
    repo.targets.files.remove("dir/b").unwrap();
    let report = repo.finds(&["P6"]);
    assert_eq!(report.findings[0].subject, "dir/b");
}

#[test]
fn a_target_file_of_the_wrong_length() {
    for content in ["", "firs", "first and more"] {
        let mut repo = Repo::new();
        repo.targets.files.insert(hashed_name("a", &sha256(b"first")), content.into());
        repo.finds(&["P7"]);
    }
}

#[test]
fn a_target_file_with_another_content() {
    let mut repo = Repo::new();
    repo.targets.files.insert(hashed_name("a", &sha256(b"first")), b"tsrif".to_vec());
    let report = repo.finds(&["P7"]);
    says(&report, "P7", "sha256 is");
}

#[test]
fn a_target_file_that_is_there_for_one_of_its_hashes() {
    let mut repo = Repo::new();
    let sha512 = hex::encode(ring::digest::digest(&ring::digest::SHA512, b"first").as_ref());
    repo.edit("targets", |signed| signed["targets"]["a"]["hashes"]["sha512"] = sha512.clone().into());
    let report = repo.finds(&["P6"]);
    assert_eq!(report.findings[0].subject, format!("{sha512}.a"));
    repo.targets.files.insert(format!("{sha512}.a"), b"first".to_vec());
    repo.finds(&[]);
}

#[test]
fn a_target_file_that_only_tough_finds() {
    let mut repo = Repo::new();
    repo.targets.files.remove(&hashed_name("dir/b", &sha256(b"second"))).unwrap();
    assert!(repo.targets.files.contains_key(&format!("{}.dir/b", sha256(b"second"))));
    assert!(repo.finds(&["P8"]).is_valid());
}

#[test]
fn a_wrong_target_file_under_the_name_that_tough_uses() {
    let mut repo = Repo::new();
    let name = format!("{}.dir/b", sha256(b"second"));
    repo.targets.files.insert(name.clone(), b"another".to_vec());
    let report = repo.finds(&["P7"]);
    assert_eq!(report.findings[0].subject, name);
}

#[test]
fn a_hash_that_is_not_the_one_of_the_file() {
    let mut repo = Repo::new();
    let wrong = "ab".repeat(32);
    repo.targets.files.insert(hashed_name("a", &wrong), b"first".to_vec());
    repo.edit("targets", |signed| signed["targets"]["a"]["hashes"] = json!({"sha256": wrong}));
    repo.finds(&["P7"]);
}
