//! Members with wrong values, and metadata without a canonical form.

use serde_json::{Value, json};
use tuf_core::canonical::canonicalize;
use tuf_core::key::KeyIdFormat;

use crate::repo::{Repo, hashed_name, says, sha256, target};

#[test]
fn a_number_with_a_fraction() {
    let mut repo = Repo::new();
    repo.edit_text("targets", "\"version\":", "\"custom\":1.5,\"version\":");
    let report = repo.finds(&["J1"]);
    says(&report, "J1", "canonical");
    // What can be said without signatures is said.
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_key_twice_in_an_object() {
    let mut repo = Repo::new();
    repo.edit_text("targets", "\"version\":", "\"custom\":1,\"custom\":2,\"version\":");
    repo.finds(&["J1"]);
}

#[test]
fn a_file_that_is_no_json() {
    let mut repo = Repo::new();
    let file = repo.current("targets");
    repo.put("targets", &file, b"<html>not found</html>".to_vec());
    repo.finds(&["J1"]);
}

#[test]
fn text_that_is_not_in_normalization_form_c() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["a"]["custom"] = json!({"note": "e\u{301}"}));
    assert!(repo.finds(&["J2"]).is_valid());
}

#[test]
fn a_target_path_that_is_not_in_normalization_form_c() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["e\u{301}"] = target("x"));
    assert!(repo.finds(&["J2"]).is_valid());
}

#[test]
fn a_wrong_type() {
    let mut repo = Repo::new();
    repo.edit("snapshot", |signed| signed["_type"] = "targets".into());
    let report = repo.finds(&["C1"]);
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_specification_nobody_knows() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["spec_version"] = "2.0.0".into());
    repo.finds(&["C2"]);
    repo.edit("targets", |signed| {
        signed.remove("spec_version");
    });
    repo.finds(&["C2"]);
}

#[test]
fn version_zero() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["version"] = 0.into());
    repo.finds(&["C3"]);
}

#[test]
fn a_version_that_is_text() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["version"] = "2".into());
    repo.finds(&["C3"]);
}

#[test]
fn a_version_other_than_the_listed_one() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["version"] = 77.into());
    let report = repo.finds(&["C4"]);
    says(&report, "C4", "77");
}

#[test]
fn an_expiry_with_a_fraction_of_a_second() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["expires"] = "2030-01-01T00:00:00.5Z".into());
    // tough, go-tuf and tuf-js read it.
    let report = repo.finds(&["C5"]);
    assert!(report.is_valid());
    says(&report, "C5", "python-tuf refuses");
}

#[test]
fn an_expiry_with_an_offset_that_is_over() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["expires"] = "2020-01-01T00:00:00+01:00".into());
    repo.finds(&["C5", "C6"]);
}

#[test]
fn an_expiry_that_is_no_time() {
    let mut repo = Repo::new();
    repo.edit("timestamp", |signed| signed["expires"] = "never".into());
    assert!(!repo.finds(&["C5"]).is_valid());
}

#[test]
fn an_expired_role() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut repo = Repo::new();
        repo.edit(role, |signed| signed["expires"] = "2020-01-01T00:00:00Z".into());
        let report = repo.finds(&["C6"]);
        assert_eq!(report.findings[0].subject, repo.current(role));
    }
}

#[test]
fn everything_is_expired_a_year_later() {
    let mut repo = Repo::new();
    repo.now = repo.now.plus_seconds(366 * 86_400);
    assert_eq!(repo.finds(&["C6"]).findings.len(), 3);
}

#[test]
fn a_member_that_is_missing() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        signed.remove("targets");
    });
    repo.finds(&["C7"]);
}

#[test]
fn delegations_that_are_no_object() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        signed.insert("delegations".into(), json!([]));
    });
    repo.finds(&["C7"]);
}

#[test]
fn several_faults_in_one_file_are_all_found() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        signed["spec_version"] = "9".into();
        signed["expires"] = "soon".into();
        signed["targets"]["../up"] = target("x");
        signed["targets"]["/absolute"] = target("x");
    });
    let report = repo.finds(&["C2", "C5", "P1"]);
    assert_eq!(report.findings.len(), 4);
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn an_unsafe_target_path() {
    for path in ["../up", "/absolute", "a/../b", "a//b", "", "a\\b", "a\nb", "."] {
        let mut repo = Repo::new();
        repo.edit("targets", |signed| signed["targets"][path] = target("x"));
        // The specification only recommends safe paths.
        assert!(repo.finds(&["P1"]).is_valid());
    }
}

#[test]
fn a_target_without_sha256() {
    let mut repo = Repo::new();
    let content = "five!";
    let digest = ring::digest::digest(&ring::digest::SHA512, content.as_bytes());
    let hash = hex::encode(digest.as_ref());
    repo.targets.files.insert(hashed_name("five", &hash), content.into());
    repo.edit("targets", |signed| {
        signed["targets"]["five"] = json!({"length": 5, "hashes": {"sha512": hash}});
    });
    assert!(repo.finds(&["P3"]).is_valid());
}

#[test]
fn a_target_without_a_length() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["x"] = json!({"hashes": {"sha256": sha256(b"x")}}));
    repo.finds(&["P5"]);
}

#[test]
fn a_target_with_a_hash_that_is_too_short() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        signed["targets"]["x"] = json!({"length": 1, "hashes": {"sha256": "abcd"}});
    });
    repo.finds(&["P5"]);
}

#[test]
fn a_hash_of_an_unknown_algorithm_never_becomes_a_path() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        signed["targets"]["a"]["hashes"]["none"] = "../../etc/passwd".into();
    });
    repo.finds(&["P5"]);
}

#[test]
fn a_pretty_printed_file_is_as_good_as_any() {
    let mut repo = Repo::new();
    let file = repo.current("targets");
    let signed = repo.signed(&file);
    let signer = repo.scratch.signer(tuf_core::names::TopRole::Targets).unwrap();
    let json = serde_json::to_vec(&signed).unwrap();
    let sig = hex::encode(signer.sign(&canonicalize(&json).unwrap()).unwrap());
    let keyid = signer.public_key().key_id(KeyIdFormat::Spec).to_string();
    let envelope: Value = json!({"signed": signed, "signatures": [{"sig": sig, "keyid": keyid}]});
    repo.put("targets", &file, serde_json::to_vec_pretty(&envelope).unwrap());
    assert_eq!(repo.audit().findings, []);
}
