//! Clients that cannot read a repository as a whole are named once each.

use serde_json::json;
use testkit::scratch::{Layout, Options};
use tuf_core::audit::Severity;
use tuf_core::key::KeyIdFormat;

use crate::repo::{Repo, bins, says};

fn clients(repo: &Repo) -> Vec<(&'static str, Severity)> {
    let report = repo.audit_with_clients();
    assert!(report.is_valid());
    report.findings.iter().map(|finding| (finding.rule.id, finding.severity)).collect()
}

#[test]
fn a_flat_repository_of_ours_names_php_tuf_and_rust_tuf() {
    let repo = Repo::with(Options { layout: Layout::Flat, ..Options::default() });
    assert_eq!(clients(&repo), [("O2", Severity::Warning), ("O3", Severity::Warning)]);
    let report = repo.audit_with_clients();
    says(&report, "O2", "key ids are not legacy");
    says(&report, "O3", "spec_version is `1.0.31`");
}

#[test]
fn hashed_bins_name_go_tuf_once_whatever_their_number() {
    for count in [2, 64, 256] {
        let repo = Repo::with(Options { layout: bins(count), ..Options::default() });
        let rules: Vec<&str> = clients(&repo).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(rules, ["O1", "O2", "O3"], "{count}");
        says(&repo.audit_with_clients(), "O1", "go-tuf up to August 2026");
    }
}

/// All keys under their legacy ids.
fn legacy() -> Repo {
    let mut repo = Repo::new();
    for role in ["targets", "snapshot", "timestamp", "root"] {
        let key = repo.key(role);
        let id = key.signer.public_key().key_id(KeyIdFormat::Legacy).to_string();
        repo.edit_root(|signed| {
            let public = signed["keys"].as_object_mut().unwrap().remove(&key.id).unwrap();
            signed["keys"][&id] = public;
            signed["roles"][role]["keyids"] = json!([id]);
        });
    }
    // A file that changes has the one above it signed again.
    for role in ["targets", "snapshot", "timestamp", "root"] {
        let id = repo.key(role).signer.public_key().key_id(KeyIdFormat::Legacy).to_string();
        repo.edit_file(role, |envelope| envelope["signatures"][0]["keyid"] = id.clone().into());
    }
    repo
}

#[test]
fn legacy_key_ids_name_tough_once_and_not_php_tuf() {
    let repo = legacy();
    assert_eq!(clients(&repo), [("K4", Severity::Warning), ("O3", Severity::Warning)]);
    says(&repo.audit_with_clients(), "K4", "tough refuses it");
}
