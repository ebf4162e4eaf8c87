//! Repositories without fault.

use std::io::Read;
use std::path::PathBuf;

use testkit::scratch::{Layout, Options};
use tuf_core::audit::{self, MetadataSource, Report, Severity};
use tuf_core::client::{Fetch, FetchError};
use tuf_core::time::UtcTime;

use crate::repo::{Repo, bins, finds, says, without_clients};

#[test]
fn nothing_is_found_in_our_own_repositories() {
    for consistent_snapshot in [true, false] {
        for layout in [Layout::Flat, bins(2), bins(16), bins(256)] {
            let repo = Repo::with(Options { consistent_snapshot, layout, ..Options::default() });
            let report = repo.audit();
            assert_eq!(report.findings, [], "{layout:?} {consistent_snapshot}");
            assert_eq!(report.checked.targets, 2);
            assert_eq!(report.checked.roots, 1);
            assert!(report.checked.target_files >= 2 && report.checked.signatures > 3);
            assert_eq!(
                report.versions.keys().map(|role| role.as_str()).collect::<Vec<_>>(),
                ["root", "snapshot", "targets", "timestamp"]
            );
        }
    }
}

#[test]
fn nothing_is_found_where_the_directory_cannot_be_listed() {
    let mut repo = Repo::with(Options { layout: bins(16), ..Options::default() });
    repo.metadata.listed = false;
    assert_eq!(repo.audit().findings, []);
}

#[test]
fn nothing_is_found_with_the_right_trusted_root() {
    let mut repo = Repo::new();
    repo.trusted_root = Some(repo.metadata.files["1.root.json"].clone());
    assert_eq!(repo.audit().findings, []);
}

#[test]
fn an_empty_directory_is_no_repository() {
    let mut repo = Repo::new();
    repo.metadata.files.clear();
    let options = audit::AuditOptions::at(repo.now);
    let error = audit::audit(&repo.metadata, None, &options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, audit::AuditError::NoRepository), "{error}");
}

#[test]
fn target_files_are_left_out_where_there_are_none() {
    let repo = Repo::new();
    let report = audit::audit(&repo.metadata, None, &audit::AuditOptions::at(repo.now), &mut |_| {}).unwrap();
    let report = without_clients(report);
    assert_eq!((report.findings.len(), report.checked.target_files, report.checked.targets), (0, 0, 2));
}

struct Directory(PathBuf);

impl Fetch for Directory {
    fn fetch(&self, path: &str, _: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(Box::new(std::io::Cursor::new(bytes)))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FetchError::new(error)),
        }
    }
}

impl MetadataSource for Directory {
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        let entries = std::fs::read_dir(&self.0).map_err(FetchError::new)?;
        Ok(Some(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()))
    }
}

fn fixture(below: &str) -> Report {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(below);
    let (metadata, targets) = (Directory(dir.join("metadata")), Directory(dir.join("targets")));
    let now = UtcTime::parse("2026-11-01T00:00:00Z").unwrap();
    without_clients(audit::audit(&metadata, Some(&targets), &audit::AuditOptions::at(now), &mut |_| {}).unwrap())
}

#[test]
fn nothing_is_found_in_a_repository_of_python_tuf() {
    let report = fixture("audit/fixtures/python");
    // Only that one role delegates to succinct ones, which some clients cannot read.
    finds(&report, &["D11"]);
    assert_eq!((report.findings.len(), report.is_valid()), (1, true));
    // flat.txt, pkg/0 to pkg/7 in succinct bins, and binned/0 to binned/5 in listed ones.
    assert_eq!((report.checked.targets, report.checked.roots), (15, 3));
}

#[test]
fn only_what_was_put_there_is_found_in_a_repository_of_python_tuf() {
    let report = fixture("foundations/fixtures/repo");
    finds(&report, &["D1", "D2", "D11"]);
    says(&report, "D1", "other/not-trusted-with.zip");
    // python-tuf reads it: clients ignore what no role delegates, and the search ends where it is told to.
    assert_eq!(report.count(Severity::Error), 0);
    // That one, the succinct roles, and locked/0 to locked/5, behind the terminating role that does not list them.
    assert_eq!(report.findings.iter().filter(|finding| finding.severity == Severity::Warning).count(), 8);
    says(&report, "D2", "locked/3");
    assert_eq!(report.checked.targets, 16);
}
