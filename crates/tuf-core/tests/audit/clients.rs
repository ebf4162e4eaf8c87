//! What is permitted, and stands in the way of some clients.

use std::cell::Cell;
use std::io::Read;

use serde_json::json;
use testkit::scratch::Options;
use tuf_core::audit::{self, MAX_FINDINGS_PER_RULE, MetadataSource, Severity};
use tuf_core::client::{Fetch, FetchError};

use crate::repo::{Files, Repo, says, target, without_clients};

#[test]
fn an_empty_target_is_a_warning() {
    let repo = Repo::holding(Options::default(), &[("empty", b"")]);
    assert!(repo.finds(&["P4"]).is_valid());
}

#[test]
fn a_target_path_that_is_not_ascii_is_a_warning() {
    let repo = Repo::holding(Options::default(), &[("é", b"x")]);
    assert!(repo.finds(&["P2"]).is_valid());
}

#[test]
fn a_target_path_that_a_client_cannot_fetch_is_a_warning() {
    let repo = Repo::holding(Options::default(), &[("a%20b", b"x"), ("c?d", b"y")]);
    let report = repo.finds(&["P10"]);
    assert!(report.is_valid());
    says(&report, "P10", "2 target paths");
}

#[test]
fn two_target_paths_that_tough_sorts_differently_are_a_warning() {
    let any = Options { portable_names: false, ..Options::default() };
    let repo = Repo::holding(any, &[("app", b"x"), ("app!", b"y")]);
    let report = repo.finds(&["P11"]);
    assert!(report.is_valid());
    says(&report, "P11", "tough sorts 1 pair of");
    Repo::holding(any, &[("app", b"x"), ("app-2", b"y"), ("other 2", b"z")]).finds(&[]);
}

#[test]
fn an_empty_custom_is_a_warning() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["a"]["custom"] = json!({}));
    assert!(repo.finds(&["P9"]).is_valid());
}

#[test]
fn a_member_of_ones_own_in_a_delegation_is_a_warning() {
    let mut repo = Repo::new();
    repo.add_role("team", &[]);
    repo.delegate(&[json!({"name": "team", "paths": ["team/*"], "x-policy": 7})]);
    assert!(repo.finds(&["D10"]).is_valid());
}

#[test]
fn findings_without_number_are_counted_and_not_kept() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| {
        for n in 0..MAX_FINDINGS_PER_RULE + 10 {
            signed["targets"][format!("../{n}")] = target("x");
        }
    });
    let report = repo.finds(&["P1"]);
    assert_eq!(report.findings.len(), MAX_FINDINGS_PER_RULE);
    assert_eq!(report.more["P1"], 10);
    // Those of whole clients are counted with them.
    assert_eq!(report.count(Severity::Warning), MAX_FINDINGS_PER_RULE as u64 + 10 + 2);
}

#[test]
fn hostile_text_stays_on_its_line() {
    let mut repo = Repo::new();
    repo.edit("targets", |signed| signed["targets"]["../\u{1b}[2J\n"] = target("x"));
    let report = repo.finds(&["P1"]);
    says(&report, "P1", "\\u{1b}[2J\\n");
}

#[test]
fn any_cut_off_file_is_a_finding_and_never_a_panic() {
    let sound = Repo::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let file = sound.current(role);
        let bytes = sound.metadata.files[&file].clone();
        for cut in (0..bytes.len()).step_by(37) {
            let mut repo = Repo { metadata: sound.metadata.clone(), targets: sound.targets.clone(), ..Repo::new() };
            repo.metadata.files.insert(file.clone(), bytes[..cut].to_vec());
            let options = audit::AuditOptions::at(repo.now);
            match audit::audit(&repo.metadata, Some(&repo.targets), &options, &mut |_| {}) {
                Ok(report) => assert!(!report.is_valid(), "{role} cut at {cut}"),
                Err(error) => assert!(matches!(error, audit::AuditError::NoRepository) && role == "root", "{error}"),
            }
        }
    }
}

/// A directory that is published to after the first file was read: `before`, then `after`.
struct Moving {
    before: Files,
    after: Files,
    fetched: Cell<u32>,
}

impl Fetch for Moving {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        // Root, its successor and the timestamp are read before.
        self.fetched.set(self.fetched.get() + 1);
        if self.fetched.get() <= 3 { self.before.fetch(path, max) } else { self.after.fetch(path, max) }
    }
}

impl MetadataSource for Moving {}

#[test]
fn a_release_meanwhile_is_no_finding() {
    let mut repo = Repo::with(Options { consistent_snapshot: false, ..Options::default() });
    let before = repo.metadata.clone();
    repo.edit("targets", |signed| {
        signed.insert("note".into(), "longer than before".into());
    });
    let moving = Moving { before, after: repo.metadata.clone(), fetched: Cell::new(0) };
    let options = audit::AuditOptions::at(repo.now);
    let report = audit::audit(&moving, Some(&repo.targets), &options, &mut |_| {}).unwrap();
    assert_eq!(without_clients(report).findings, []);
    assert!(moving.fetched.get() > 8);
}

#[test]
fn any_changed_byte_is_survived() {
    let sound = Repo::with(Options { layout: crate::repo::bins(2), ..Options::default() });
    // Any sequence will do, as long as it is always the same.
    let mut random = 42u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for role in ["root", "timestamp", "snapshot", "targets", "bins"] {
        let file = sound.current(role);
        for _ in 0..60 {
            let mut metadata = sound.metadata.clone();
            let bytes = metadata.files.get_mut(&file).unwrap();
            let at = next(bytes.len());
            let known = b"{}[]\",:0123456789\\/.-e \x00\xff";
            bytes[at] = known[next(known.len())];
            let options = audit::AuditOptions::at(sound.now);
            // Whatever is said, it is said.
            let report = audit::audit(&metadata, Some(&sound.targets), &options, &mut |_| {});
            assert!(report.is_ok() || role == "root", "{role} at {at}");
        }
    }
}
