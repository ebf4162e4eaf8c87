//! The root chain.

use serde_json::json;
use tuf_core::client::{Client, ClientLimits};
use tuf_core::names::TopRole;

use crate::repo::{Key, Repo, says};

#[test]
fn a_chain_with_new_keys_is_sound() {
    let mut repo = Repo::new();
    let (old, new) = (repo.key("root"), Key::new());
    repo.next_root(&[&old, &new], |signed| {
        signed["keys"].as_object_mut().unwrap().remove(&old.id);
        signed["keys"][&new.id] = new.public();
        signed["roles"]["root"]["keyids"] = json!([new.id]);
    });
    repo.next_root(&[&new], |_| {});
    assert_eq!(repo.audit().findings, []);
    assert_eq!(repo.audit().versions[&TopRole::Root], 3);
}

#[test]
fn a_root_not_signed_by_the_one_before() {
    let mut repo = Repo::new();
    let (old, new) = (repo.key("root"), Key::new());
    repo.next_root(&[&new], |signed| {
        signed["keys"].as_object_mut().unwrap().remove(&old.id);
        signed["keys"][&new.id] = new.public();
        signed["roles"]["root"]["keyids"] = json!([new.id]);
    });
    let report = repo.finds(&["S4"]);
    says(&report, "S4", "the keys of root 1");
}

#[test]
fn a_root_not_signed_by_its_own_keys() {
    let mut repo = Repo::new();
    let (old, new) = (repo.key("root"), Key::new());
    repo.next_root(&[&old], |signed| {
        signed["keys"].as_object_mut().unwrap().remove(&old.id);
        signed["keys"][&new.id] = new.public();
        signed["roles"]["root"]["keyids"] = json!([new.id]);
    });
    let report = repo.finds(&["S4"]);
    says(&report, "S4", "its own keys");
}

#[test]
fn a_root_that_is_missing_in_the_middle() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    repo.next_root(&[&key], |_| {});
    repo.next_root(&[&key], |_| {});
    repo.metadata.files.remove("2.root.json");
    let report = repo.finds(&["R1"]);
    assert_eq!(report.findings[0].subject, "2.root.json");
    assert_eq!(report.versions[&TopRole::Root], 3);
}

#[test]
fn a_first_root_that_is_missing() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    repo.next_root(&[&key], |_| {});
    repo.trusted_root = repo.metadata.files.remove("1.root.json");
    repo.finds(&["R1"]);
    // Without a listing, the walk continues at the trusted root.
    repo.metadata.listed = false;
    repo.finds(&["R1"]);
}

#[test]
fn a_root_whose_name_is_not_its_version() {
    let mut repo = Repo::new();
    let bytes = repo.metadata.files["1.root.json"].clone();
    repo.metadata.files.insert("2.root.json".into(), bytes);
    repo.finds(&["C4"]);
}

#[test]
fn a_root_without_a_top_level_role() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| {
        signed["roles"].as_object_mut().unwrap().remove("timestamp");
    });
    let report = repo.audit();
    assert!(!report.is_valid());
    says(&report, "R3", "timestamp");
}

#[test]
fn an_expired_root() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    repo.edit_root(|signed| signed["expires"] = "2020-01-01T00:00:00Z".into());
    repo.finds(&["C6"]);
    // On the way it does not matter.
    repo.next_root(&[&key], |signed| signed["expires"] = "2040-01-01T00:00:00Z".into());
    assert_eq!(repo.audit().findings, []);
}

#[test]
fn a_chain_of_more_than_256() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    for _ in 0..257 {
        repo.next_root(&[&key], |_| {});
    }
    assert!(repo.finds(&["R2"]).is_valid());
}

#[test]
fn a_root_that_is_too_large() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| {
        signed.insert("note".into(), "x".repeat(600_000).into());
    });
    repo.finds(&["L1"]);
    assert!(
        Client::new(&repo.metadata.files["1.root.json"], &repo.metadata, &repo.targets, ClientLimits::default())
            .is_err()
    );
}

#[test]
fn a_trusted_root_of_another_repository() {
    let mut repo = Repo::new();
    repo.trusted_root = Some(Repo::new().metadata.files["1.root.json"].clone());
    repo.finds(&["R4"]);
}

#[test]
fn a_repository_that_went_back_behind_the_trusted_root() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    repo.next_root(&[&key], |_| {});
    repo.trusted_root = repo.metadata.files.remove("2.root.json");
    repo.finds(&["R1"]);
    repo.next_root(&[&key], |_| {});
    repo.next_root(&[&key], |_| {});
    repo.trusted_root = repo.metadata.files.remove("3.root.json");
    repo.metadata.files.remove("2.root.json");
    repo.finds(&["R1"]);
}

#[test]
fn a_server_that_answers_anything_with_a_page_is_not_asked_for_ever() {
    let mut repo = Repo::new();
    repo.metadata.listed = false;
    for version in 2..50 {
        repo.metadata.files.insert(format!("{version}.root.json"), b"<html>".to_vec());
    }
    let report = repo.finds(&["J1"]);
    assert_eq!(report.findings.len(), 3);
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_server_that_answers_every_root_with_the_same_one_is_not_asked_for_ever() {
    let mut repo = Repo::new();
    repo.metadata.listed = false;
    let root = repo.metadata.files["1.root.json"].clone();
    for version in 2..50 {
        repo.metadata.files.insert(format!("{version}.root.json"), root.clone());
    }
    assert_eq!(repo.finds(&["C4"]).findings.len(), 3);
}
