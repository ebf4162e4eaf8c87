//! Repositories as other publishers make them: what their own clients accept is no error.

use serde_json::{Map, Value, json};
use testkit::scratch::Options;
use tuf_core::audit::{Report, Severity};
use tuf_core::canonical::canonicalize;
use tuf_core::names::TopRole;

use crate::repo::{Key, Repo, says, target};

/// Severities and rules of the findings, notes too.
fn found(report: &Report) -> Vec<(Severity, &'static str)> {
    report.findings.iter().map(|finding| (finding.severity, finding.rule.id)).collect()
}

/// Signs the top-level targets role over a text that our canonical form refuses: `custom` of target `a` becomes `text`.
fn with_custom(text: &str) -> Repo {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["a"]["custom"] = json!({"here": "here"}));
    let file = repo.current("targets");
    let signed = serde_json::to_vec(&repo.signed(&file)).unwrap();
    let canonical = String::from_utf8(canonicalize(&signed).unwrap().into_owned()).unwrap();
    let canonical = canonical.replace("\"here\":\"here\"", &format!("\"here\":{text}"));
    let key = repo.key("targets");
    let sig = hex::encode(key.signer.sign(canonical.as_bytes()).unwrap());
    let envelope = format!(r#"{{"signatures":[{{"keyid":"{}","sig":"{sig}"}}],"signed":{canonical}}}"#, key.id);
    repo.put("targets", &file, envelope.into_bytes());
    repo
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn a_custom_integer_of_2_to_the_53_is_a_trouble_of_clients_and_not_of_the_specification() {
    for text in ["9007199254740992", "-9007199254740993", "123456789012345678901234567890"] {
        let report = with_custom(text).finds(&["J3"]);
        assert!(report.is_valid(), "{text}");
        assert_eq!(report.findings[0].rule.section, "clients");
        // The rest of the file is checked as ever, and its signature is.
        assert_eq!(report.checked.target_files, 3);
    }
    let mut repo = with_custom("9007199254740992");
    repo.edit_text("targets", "9007199254740992", "9007199254740993");
    repo.finds(&["J3", "S3"]);
}

#[test]
fn a_custom_integer_below_2_to_the_53_is_no_finding() {
    assert_eq!(with_custom("9007199254740991").audit().findings, []);
}

#[test]
fn nesting_that_some_clients_read_is_a_warning() {
    // Three levels are above `custom`, and one is `custom`.
    for levels in [61, 100, 150, 390] {
        let report = with_custom(&nested(levels)).finds(&["J4"]);
        assert!(report.is_valid(), "{levels}");
        assert_eq!(report.checked.targets, 2, "{levels}");
    }
    assert_eq!(with_custom(&nested(60)).audit().findings, []);
}

#[test]
fn nesting_too_deep_for_the_audit_leaves_the_report_incomplete() {
    let repo = with_custom(&nested(1000));
    let report = repo.audit();
    assert_eq!(found(&report), [(Severity::Warning, "J4")]);
    assert_eq!(report.unread[0].subject, repo.current("targets"));
    assert_eq!(report.checked.targets, 2);
}

#[test]
fn a_version_of_2_to_the_53_is_not_attributed_to_the_specification() {
    let mut repo = Repo::new();
    let mut signed = repo.signed("timestamp.json");
    signed["version"] = 41.into();
    let canonical =
        String::from_utf8(canonicalize(&serde_json::to_vec(&signed).unwrap()).unwrap().into_owned()).unwrap();
    let canonical = canonical.replace("\"version\":41}", "\"version\":9007199254740992}");
    let key = repo.key("timestamp");
    let sig = hex::encode(key.signer.sign(canonical.as_bytes()).unwrap());
    let envelope = format!(r#"{{"signatures":[{{"keyid":"{}","sig":"{sig}"}}],"signed":{canonical}}}"#, key.id);
    repo.metadata.files.insert("timestamp.json".into(), envelope.into_bytes());
    assert_eq!(found(&repo.audit()), [(Severity::Warning, "J3")]);
}

/// A role of this name with one target, in files as `on_disk` calls them.
fn role_called(name: &str, on_disk: &str) -> Repo {
    let mut repo = Repo::new();
    repo.delegate(&[json!({"name": name, "paths": ["team/*"]})]);
    repo.add_role(name, &[("team/x", "x")]);
    let bytes = repo.metadata.files.remove(&format!("1.{name}.json")).unwrap();
    repo.metadata.files.insert(on_disk.into(), bytes);
    repo
}

#[test]
fn a_role_name_with_a_slash_is_a_warning_and_the_role_is_checked() {
    for on_disk in ["1.vendor/a b.json", "1.vendor%2Fa%20b.json"] {
        let mut repo = role_called("vendor/a b", on_disk);
        let report = repo.finds(&["D9"]);
        assert!(report.is_valid());
        says(&report, "D9", "`vendor/a b`");
        assert_eq!((report.checked.targets, report.checked.targets_roles), (3, 2), "{on_disk}");
        let text = String::from_utf8(repo.metadata.files[on_disk].clone()).unwrap();
        repo.metadata.files.insert(on_disk.into(), text.replacen("team/x", "team/y", 1).into_bytes());
        assert!(!repo.audit().is_valid(), "{on_disk}");
    }
}

#[test]
fn role_names_that_are_dots_or_in_another_script_are_checked() {
    for (name, on_disk) in [
        ("..", "1....json"),
        ("../a", "1...%2Fa.json"),
        ("ö", "1.ö.json"),
        ("🍺/30", "1.%F0%9F%8D%BA%2F30.json"),
        ("e\u{301}", "1.e\u{301}.json"),
    ] {
        let report = role_called(name, on_disk).audit();
        assert!(report.is_valid() && report.is_complete(), "{name}: {:?}", report.findings);
        assert_eq!((report.checked.targets, report.checked.targets_roles), (3, 2), "{name}");
    }
}

#[test]
fn a_listed_name_that_is_no_metadata_file_is_a_warning() {
    let mut repo = Repo::new();
    repo.edit("snapshot", |signed| signed["meta"]["targets.cbor"] = json!({"version": 1}));
    assert!(repo.finds(&["N7"]).is_valid());
}

#[test]
fn a_root_that_does_not_mention_consistent_snapshots_has_none_and_some_clients_refuse_it() {
    let mut repo = Repo::with(Options { consistent_snapshot: false, ..Options::default() });
    repo.edit_root(|signed| {
        signed.remove("consistent_snapshot").unwrap();
    });
    let report = repo.finds(&["R5"]);
    assert!(!report.is_valid());
    assert_eq!((report.findings[0].rule.section, report.checked.target_files), ("clients", 2));
}

/// Renames the targets key, in root and in the signature.
fn with_key_id(id: &str) -> Repo {
    let mut repo = Repo::new();
    let key = repo.key("targets");
    repo.edit_root(|signed| {
        let public = signed["keys"].as_object_mut().unwrap().remove(&key.id).unwrap();
        signed["keys"][id] = public;
        signed["roles"]["targets"]["keyids"] = json!([id]);
    });
    repo.edit_file("targets", |envelope| envelope["signatures"][0]["keyid"] = id.into());
    repo
}

#[test]
fn key_ids_of_any_text_are_one_warning_and_their_signatures_are_checked() {
    for id in ["release key: 2026", &"ab".repeat(100), "abc"] {
        let mut repo = with_key_id(id);
        let report = repo.finds(&["K4"]);
        assert_eq!((report.is_valid(), report.findings.len()), (true, 1), "{id}");
        repo.edit_file("targets", |envelope| envelope["signed"]["note"] = "added".into());
        repo.finds(&["K4", "S3"]);
    }
}

#[test]
fn a_key_that_gained_a_member_under_its_old_id_is_a_warning() {
    let mut repo = Repo::new();
    let key = repo.key("root");
    // The first root has the key as its id says.
    repo.next_root(&[&key], |signed| signed["keys"][&key.id]["x-owner"] = "someone".into());
    let report = repo.finds(&["K4"]);
    assert_eq!((report.is_valid(), report.findings[0].subject.as_str()), (true, "2.root.json"));
}

#[test]
fn a_signature_of_an_unknown_scheme_leaves_the_report_incomplete_and_is_no_error() {
    let mut repo = Repo::new();
    let id = "cd".repeat(32);
    repo.edit_root(|signed| {
        signed["keys"][&id] = json!({"keytype": "x", "scheme": "x-512", "keyval": {"public": "00"}});
        signed["roles"]["targets"]["keyids"] = json!([id]);
    });
    repo.edit_file("targets", |envelope| envelope["signatures"] = json!([{"keyid": id, "sig": "00"}]));
    let report = repo.audit();
    assert!(report.is_valid() && !report.is_complete(), "{:?}", report.findings);
    assert_eq!(report.unread[0].subject, repo.current("targets"));
    // Without any signature there is nothing to leave open.
    repo.edit_file("targets", |envelope| envelope["signatures"] = json!([]));
    assert!(!repo.audit().is_valid());
}

#[test]
fn a_place_reserved_for_a_signer_is_only_noted() {
    let mut repo = Repo::new();
    let other = Key::new();
    repo.edit_root(|signed| {
        signed["keys"][&other.id] = other.public();
        signed["roles"]["root"]["keyids"].as_array_mut().unwrap().push(other.id.clone().into());
    });
    repo.edit_file("root", |envelope| {
        envelope["signatures"].as_array_mut().unwrap().push(json!({"keyid": other.id, "sig": ""}));
    });
    assert_eq!(found(&repo.audit()), [(Severity::Note, "S7")]);
    // A root that follows is checked against the keys of both, which says the same twice.
    let key = repo.key("root");
    repo.next_root(&[&key], |_| {});
    repo.edit_file("root", |envelope| {
        envelope["signatures"].as_array_mut().unwrap().push(json!({"keyid": other.id, "sig": ""}));
    });
    assert_eq!(found(&repo.audit()), [(Severity::Note, "S7"), (Severity::Note, "S7")], "once for each root");
}

/// Three roots, of which the first is as `change` leaves it; the third is trusted.
fn old_root(change: impl FnOnce(&mut Map<String, Value>)) -> Repo {
    let mut repo = Repo::new();
    let key = repo.key("root");
    repo.edit_root(change);
    let fixed = |signed: &mut Map<String, Value>| {
        signed["expires"] = "2040-01-01T00:00:00Z".into();
        signed.insert("consistent_snapshot".into(), true.into());
        signed["roles"]["root"] = json!({"keyids": [key.id], "threshold": 1});
        signed["keys"].as_object_mut().unwrap().retain(|id, _| id.len() == 64);
    };
    repo.next_root(&[&key], fixed);
    repo.next_root(&[&key], |_| {});
    repo.trusted_root = Some(repo.metadata.files["3.root.json"].clone());
    repo
}

#[test]
fn faults_of_roots_below_the_trusted_root_are_notes() {
    type Change = fn(&mut Map<String, Value>);
    let changes: [(&str, Change); 5] = [
        ("C5", |signed| signed["expires"] = "never".into()),
        ("R5", |signed| {
            signed.remove("consistent_snapshot");
        }),
        ("S5", |signed| signed["roles"]["root"]["threshold"] = 2.into()),
        ("K6", |signed| signed["keys"]["ab"] = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {}})),
        ("C2", |signed| signed["spec_version"] = "0.9".into()),
    ];
    for (rule, change) in changes {
        let mut repo = old_root(change);
        if rule == "C2" {
            let key = repo.key("root");
            repo.next_root(&[&key], |signed| signed["spec_version"] = "1.0.31".into());
            repo.trusted_root = Some(repo.metadata.files["4.root.json"].clone());
        }
        let report = repo.audit();
        assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{:?}", report.findings);
        assert!(report.is_valid());
        says(&report, rule, "before the trusted root");
        // For clients that start there, they are errors.
        repo.trusted_root = None;
        assert!(!repo.audit().is_valid(), "{rule}");
    }
}

#[test]
fn a_link_that_is_missing_below_the_trusted_root_is_a_note() {
    let mut repo = old_root(|_| {});
    let stranger = Key::new();
    let second = repo.signed("2.root.json");
    let bytes = crate::repo::envelope(&second, &[(&stranger.id, stranger.signer.as_ref())]);
    repo.metadata.files.insert("2.root.json".into(), bytes);
    let report = repo.audit();
    assert!(report.is_valid());
    assert!(found(&report).iter().all(|finding| *finding == (Severity::Note, "S4")), "{:?}", report.findings);
    repo.trusted_root = Some(repo.metadata.files["1.root.json"].clone());
    assert!(!repo.audit().is_valid());
}

#[test]
fn roots_that_are_missing_up_to_the_trusted_root_are_a_warning() {
    for missing in [&["1.root.json"][..], &["1.root.json", "2.root.json"], &["2.root.json"]] {
        let mut repo = old_root(|_| {});
        for file in missing {
            repo.metadata.files.remove(*file).unwrap();
        }
        assert!(repo.finds(&["R1"]).is_valid(), "{missing:?}");
    }
    // Without any root, and without a trusted one of the caller's: the oldest is trusted.
    let mut repo = old_root(|_| {});
    repo.metadata.files.retain(|name, _| !name.ends_with(".root.json"));
    assert!(repo.finds(&["R1"]).is_valid());
    let mut repo = old_root(|_| {});
    repo.trusted_root = None;
    repo.metadata.files.remove("1.root.json");
    assert!(repo.finds(&["R1"]).is_valid());
    repo.metadata.files.remove("2.root.json");
    assert_eq!(repo.finds(&["R1"]).versions[&TopRole::Root], 3);
}

#[test]
fn a_root_that_is_missing_above_the_trusted_root_is_an_error() {
    let mut repo = old_root(|_| {});
    repo.trusted_root = Some(repo.metadata.files["1.root.json"].clone());
    repo.metadata.files.remove("2.root.json");
    assert!(!repo.finds(&["R1"]).is_valid());
}

#[test]
fn a_path_that_climbs_makes_that_target_unchecked_and_not_the_whole_file() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["foo/../bar/b"] = target("x"));
    let report = repo.finds(&["P1"]);
    assert_eq!((report.is_valid(), report.checked.targets), (true, 2));
    says(&report, "P1", "does not check its file");
}
