//! Delegations, and targets where they do not belong.

use serde_json::json;
use testkit::scratch::Options;
use tuf_core::bins::BinLayout;

use crate::repo::{Key, Repo, bins, finds, says, target};

/// A repository in which `targets` delegates `team/*` to `team`, which lists `team/x`.
fn team(more: serde_json::Value) -> Repo {
    let mut repo = Repo::new();
    repo.add_role("team", &[("team/x", "x")]);
    let mut role = json!({"name": "team", "paths": ["team/*"]});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            role.as_object_mut().unwrap().remove(name);
        } else {
            role[name] = value.clone();
        }
    }
    repo.delegate(&[role]);
    repo
}

#[test]
fn a_delegation_is_sound() {
    let repo = team(json!({}));
    assert_eq!(repo.audit().findings, []);
    assert_eq!(repo.audit().checked.targets, 3);
}

#[test]
fn a_target_outside_of_its_delegation() {
    let mut repo = team(json!({}));
    repo.edit("team", |signed| signed["targets"]["elsewhere/x"] = target("x"));
    let report = repo.finds(&["D1"]);
    // No client refuses anything: none finds it.
    assert!(report.is_valid());
    says(&report, "D1", "elsewhere/x");
}

#[test]
fn a_target_outside_of_its_bin() {
    let mut repo = Repo::with(Options { layout: bins(4), ..Options::default() });
    let layout = BinLayout::new(4).unwrap();
    let home = layout.index_of(&"a".parse().unwrap());
    let (home, other) = (layout.name(home), layout.name((home + 1) % 4));
    let entry = repo.signed(&repo.current(home.as_str()))["targets"]["a"].clone();
    repo.edit(home.as_str(), |signed| {
        signed["targets"].as_object_mut().unwrap().remove("a");
    });
    repo.edit(other.as_str(), |signed| signed["targets"]["a"] = entry);
    let report = repo.finds(&["D1"]);
    says(&report, "D1", other.as_str());
    assert_eq!(report.checked.targets, 1);
}

#[test]
fn a_target_behind_a_terminating_delegation() {
    let mut repo = Repo::new();
    repo.add_role("first", &[]);
    repo.add_role("second", &[("team/x", "x")]);
    repo.delegate(&[
        json!({"name": "first", "paths": ["team/*"], "terminating": true}),
        json!({"name": "second", "paths": ["team/*"]}),
    ]);
    let report = repo.finds(&["D2"]);
    assert!(report.is_valid());
    says(&report, "D2", "team/x");
}

#[test]
fn a_role_delegated_to_twice() {
    let mut repo = Repo::new();
    repo.add_role("team", &[("team/x", "x")]);
    repo.delegate(&[json!({"name": "team", "paths": ["team/*"]}), json!({"name": "team", "paths": ["other/*"]})]);
    repo.finds(&["D3"]);
}

#[test]
fn a_top_level_role_delegated_to() {
    let mut repo = Repo::new();
    repo.delegate(&[json!({"name": "snapshot", "paths": ["team/*"]})]);
    // The key of the delegation that was left out is unused, which is noted.
    repo.finds(&["D3"]);
}

#[test]
fn two_roles_that_disagree_about_a_target_are_only_noted() {
    let mut repo = team(json!({}));
    repo.edit("targets", |signed| signed["targets"]["team/x"] = target("y"));
    repo.targets.files.insert(crate::repo::hashed_name("team/x", &crate::repo::sha256(b"y")), b"y".to_vec());
    let report = repo.finds(&[]);
    says(&report, "D4", "team/x");
}

#[test]
fn a_delegation_that_does_not_say_whether_it_is_terminating() {
    team(json!({"terminating": "no"})).finds(&["D5"]);
}

#[test]
fn a_hash_prefix_that_is_not_hexadecimal() {
    // With the prefix left out, the target of the role is outside of the delegation.
    let repo = team(json!({"paths": null, "path_hash_prefixes": ["XY"]}));
    repo.finds(&["D1", "D6"]);
}

#[test]
fn both_paths_and_hash_prefixes() {
    team(json!({"path_hash_prefixes": ["00"]})).finds(&["D7"]);
}

#[test]
fn neither_paths_nor_hash_prefixes() {
    team(json!({"paths": null})).finds(&["D1", "D7"]);
}

#[test]
fn a_delegated_role_that_its_keys_did_not_sign() {
    let mut repo = team(json!({}));
    let other = Key::new();
    repo.edit("targets", |signed| {
        signed["delegations"]["keys"] = json!({&other.id: other.public()});
        signed["delegations"]["roles"][0]["keyids"] = json!([other.id]);
    });
    let report = repo.finds(&["S3"]);
    says(&report, "S3", "the keys that targets gives it");
}

#[test]
fn a_role_with_two_parents_needs_the_keys_of_both() {
    let mut repo = Repo::new();
    repo.add_role("shared", &[("team/x", "x")]);
    repo.add_role("other", &[]);
    let stranger = Key::new();
    repo.edit("other", |signed| {
        let role = json!({"name": "shared", "paths": ["team/*"], "keyids": [stranger.id], "threshold": 1, "terminating": false});
        signed.insert("delegations".into(), json!({"keys": {&stranger.id: stranger.public()}, "roles": [role]}));
    });
    repo.delegate(&[json!({"name": "shared", "paths": ["team/*"]}), json!({"name": "other", "paths": ["team/*"]})]);
    let report = repo.finds(&["S3"]);
    says(&report, "S3", "other");
}

#[test]
fn roles_that_delegate_in_a_circle_are_read_once() {
    let mut repo = team(json!({}));
    let delegations = repo.signed(&repo.current("targets"))["delegations"].clone();
    repo.edit("team", |signed| {
        signed.insert("delegations".into(), delegations);
    });
    let report = repo.audit();
    finds(&report, &[]);
    assert_eq!(report.checked.targets_roles, 2);
}

#[test]
fn a_target_after_more_delegations_than_clients_visit() {
    let mut repo = Repo::new();
    let roles: Vec<_> = (0..40).map(|n| json!({"name": format!("role-{n}"), "paths": ["team/*"]})).collect();
    for n in 0..40 {
        let targets: &[(&str, &str)] = if n == 39 { &[("team/x", "x")] } else { &[] };
        repo.add_role(&format!("role-{n}"), targets);
    }
    repo.delegate(&roles);
    let report = repo.finds(&["D8"]);
    assert!(report.is_valid());
    says(&report, "D8", "after 40 delegations");
}

#[test]
fn a_role_name_that_begins_with_a_digit() {
    let mut repo = Repo::new();
    repo.add_role("00", &[]);
    repo.delegate(&[json!({"name": "00", "paths": ["team/*"]})]);
    assert!(repo.finds(&["D9"]).is_valid());
}

#[test]
fn a_role_name_that_leaves_the_directory_never_becomes_a_path() {
    let mut repo = Repo::new();
    repo.delegate(&[json!({"name": "../evil", "paths": ["team/*"]})]);
    repo.edit("snapshot", |signed| signed["meta"]["../evil.json"] = json!({"version": 1}));
    let targets = repo.metadata.files[&repo.current("targets")].clone();
    for name in ["../evil.json", "evil.json", "1.evil.json"] {
        repo.metadata.files.insert(name.into(), targets.clone());
    }
    let report = repo.finds(&["D9", "N3"]);
    says(&report, "N3", "..%2Fevil.json");
}

#[test]
fn a_succinct_delegation_with_a_missing_bin() {
    let mut repo = Repo::new();
    for n in 0..3 {
        repo.add_role(&format!("part-{n}"), &[]);
    }
    let key = repo.key("targets");
    repo.edit("targets", |signed| {
        let succinct = json!({"keyids": [key.id], "threshold": 1, "bit_length": 2, "name_prefix": "part"});
        signed.insert("delegations".into(), json!({"keys": {&key.id: key.public()}, "succinct_roles": succinct}));
    });
    let report = repo.finds(&["D11", "N2"]);
    says(&report, "N2", "part-3.json");
}
