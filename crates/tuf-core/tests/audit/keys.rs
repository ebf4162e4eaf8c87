//! Keys, thresholds and signatures.

use serde_json::{Value, json};

use crate::repo::{Key, Repo, says};

#[test]
fn a_missing_signature() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut repo = Repo::new();
        repo.edit_file(role, |envelope| envelope["signatures"] = json!([]));
        let report = repo.finds(&["S3"]);
        assert_eq!(report.findings[0].subject, repo.current(role));
    }
}

#[test]
fn a_bad_signature() {
    let mut repo = Repo::new();
    repo.edit_file("targets", |envelope| envelope["signatures"][0]["sig"] = "00".repeat(64).into());
    let report = repo.finds(&["S3"]);
    says(&report, "S3", "does not match");
}

#[test]
fn tampered_metadata() {
    let mut repo = Repo::new();
    repo.edit_file("targets", |envelope| envelope["signed"]["note"] = "added".into());
    repo.finds(&["S3"]);
}

#[test]
fn a_signature_by_a_key_of_another_role() {
    let mut repo = Repo::new();
    let (file, signed) = (repo.current("snapshot"), repo.signed(&repo.current("snapshot")));
    let bytes = repo.envelope("targets", &signed);
    repo.put("snapshot", &file, bytes);
    repo.finds(&["S3"]);
}

#[test]
fn a_key_that_signs_twice() {
    let mut repo = Repo::new();
    repo.edit_file("targets", |envelope| {
        let first = envelope["signatures"][0].clone();
        envelope["signatures"].as_array_mut().unwrap().push(first);
    });
    repo.finds(&["S1"]);
}

#[test]
fn a_key_that_signs_twice_does_not_make_a_threshold_of_two() {
    let mut repo = Repo::new();
    let other = Key::new();
    repo.edit_root(|signed| {
        signed["keys"][&other.id] = other.public();
        signed["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(other.id.clone().into());
        signed["roles"]["targets"]["threshold"] = 2.into();
    });
    repo.edit_file("targets", |envelope| {
        let first = envelope["signatures"][0].clone();
        envelope["signatures"].as_array_mut().unwrap().push(first);
    });
    let report = repo.finds(&["S1", "S3"]);
    says(&report, "S3", "1 of the 2");
}

#[test]
fn a_signature_that_is_not_hexadecimal() {
    let mut repo = Repo::new();
    repo.edit_file("targets", |envelope| {
        envelope["signatures"].as_array_mut().unwrap().push(json!({"keyid": "abc", "sig": "xyz"}));
    });
    repo.finds(&["S2"]);
}

#[test]
fn an_invalid_signature_beyond_the_threshold() {
    let mut repo = Repo::new();
    let other = Key::new();
    repo.edit_root(|signed| {
        signed["keys"][&other.id] = other.public();
        signed["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(other.id.clone().into());
    });
    repo.edit_file("targets", |envelope| {
        let bad = json!({"keyid": other.id, "sig": "00".repeat(64)});
        envelope["signatures"].as_array_mut().unwrap().push(bad);
    });
    let report = repo.finds(&["S7"]);
    assert!(report.is_valid());
}

#[test]
fn a_threshold_of_zero() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| signed["roles"]["timestamp"]["threshold"] = 0.into());
    let report = repo.finds(&["S5"]);
    says(&report, "S5", "unsigned");
}

#[test]
fn a_threshold_of_zero_in_a_delegation() {
    let mut repo = Repo::new();
    repo.add_role("team", &[("team/x", "x")]);
    repo.delegate(&[json!({"name": "team", "paths": ["team/*"], "threshold": 0})]);
    repo.finds(&["S5"]);
}

#[test]
fn a_threshold_that_nobody_can_meet() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| signed["roles"]["timestamp"]["threshold"] = 2.into());
    repo.finds(&["S3", "S5"]);
}

#[test]
fn a_role_without_keys() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| signed["roles"]["timestamp"]["keyids"] = json!([]));
    repo.finds(&["S5"]);
    let mut repo = Repo::new();
    repo.add_role("team", &[("team/x", "x")]);
    repo.delegate(&[json!({"name": "team", "paths": ["team/*"], "keyids": []})]);
    repo.finds(&["S5"]);
}

#[test]
fn a_key_listed_twice() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| {
        let keyids = signed["roles"]["snapshot"]["keyids"].as_array_mut().unwrap();
        let first = keyids[0].clone();
        keyids.push(first);
    });
    repo.finds(&["S6"]);
}

#[test]
fn one_key_under_two_ids() {
    let mut repo = Repo::new();
    let key = repo.key("snapshot");
    repo.edit_root(|signed| {
        let mut twin = key.public();
        // Another member gives another key id to the same key.
        twin["note"] = "spare".into();
        let canonical = serde_json::to_vec(&twin).unwrap();
        let id = crate::repo::sha256(&tuf_core::canonical::canonicalize(&canonical).unwrap());
        signed["keys"][&id] = twin;
        signed["roles"]["snapshot"]["keyids"].as_array_mut().unwrap().push(id.into());
    });
    let report = repo.finds(&["S6"]);
    assert!(report.is_valid());
    says(&report, "S6", "one key under two ids");
}

#[test]
fn a_role_with_a_key_that_is_not_defined() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| {
        signed["roles"]["snapshot"]["keyids"].as_array_mut().unwrap().push("ab".repeat(32).into());
    });
    assert!(repo.finds(&["K1"]).is_valid());
}

#[test]
fn a_key_nobody_uses_is_only_noted() {
    let mut repo = Repo::new();
    let other = Key::new();
    repo.edit_root(|signed| signed["keys"][&other.id] = other.public());
    let report = repo.finds(&[]);
    says(&report, "K2", &other.id);
}

/// Gives the targets key of root another id.
fn rename_key(repo: &mut Repo, id: &str) {
    let key = repo.key("targets");
    repo.edit_root(|signed| {
        let public = signed["keys"].as_object_mut().unwrap().remove(&key.id).unwrap();
        signed["keys"][id] = public;
        signed["roles"]["targets"]["keyids"] = json!([id]);
    });
    repo.edit_file("targets", |envelope| envelope["signatures"][0]["keyid"] = id.into());
}

#[test]
fn a_key_id_that_is_not_the_hash_of_its_key() {
    let mut repo = Repo::new();
    rename_key(&mut repo, &"ab".repeat(32));
    let report = repo.finds(&["K4"]);
    // python-tuf, go-tuf and tuf-js read it, as they read Sigstore's.
    assert!(report.is_valid());
    says(&report, "K4", "tough and php-tuf refuse");
}

#[test]
fn a_key_id_of_rugged_and_php_tuf_is_a_warning() {
    let mut repo = Repo::new();
    let key = repo.key("targets");
    let id = key.signer.public_key().key_id(tuf_core::key::KeyIdFormat::Legacy).to_string();
    rename_key(&mut repo, &id);
    let report = repo.finds(&["K4"]);
    assert!(report.is_valid());
    says(&report, "K4", "tough refuses it");
}

fn with_key(key: Value) -> Repo {
    let mut repo = Repo::new();
    let canonical = serde_json::to_vec(&key).unwrap();
    let id = crate::repo::sha256(&tuf_core::canonical::canonicalize(&canonical).unwrap());
    repo.edit_root(|signed| {
        signed["keys"][&id] = key;
        signed["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(id.into());
    });
    repo
}

#[test]
fn a_scheme_nobody_knows() {
    let repo = with_key(json!({"keytype": "sphincs", "scheme": "sphincs-x", "keyval": {"public": "00"}}));
    repo.finds(&["K3"]);
}

#[test]
fn an_rsa_key_of_1024_bits() {
    const PEM: &str = include_str!("fixtures/rsa1024.pem");
    let repo = with_key(json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": PEM}}));
    let report = repo.finds(&["K5"]);
    says(&report, "K5", "1024 bits");
}

#[test]
fn a_public_key_of_the_wrong_length() {
    let repo = with_key(json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "0011"}}));
    repo.finds(&["K6"]);
}

#[test]
fn a_key_without_its_public_part() {
    let mut repo = Repo::new();
    repo.edit_root(|signed| {
        signed["keys"]["ab"] = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {}});
    });
    repo.finds(&["K6"]);
}
