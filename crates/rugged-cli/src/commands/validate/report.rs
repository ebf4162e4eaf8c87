//! The report as JSON and as text. The JSON is a format that scripts rely on: members are added, never changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tuf_core::audit::{Checked, Report, Severity};
use tuf_core::names::TopRole;

use super::Plan;
use crate::output::{bytes, count, one_line};

/// What `--json` prints.
#[derive(Serialize)]
pub struct Document {
    /// Whether nothing is wrong and everything could be looked at.
    ok: bool,
    /// Whether everything could be looked at.
    complete: bool,
    metadata: String,
    /// `null` when target files were left out.
    targets: Option<String>,
    /// `null` when the repository's own root was taken at its word.
    trusted_root: Option<String>,
    /// The time at which nothing may be expired.
    at: String,
    /// Of root, timestamp, snapshot and targets, as far as they could be read.
    versions: BTreeMap<TopRole, u64>,
    checked: Looked,
    counts: Counts,
    findings: Vec<Finding>,
    /// Findings that are not listed, by rule.
    more: BTreeMap<&'static str, u64>,
    unread: Vec<Unread>,
}

#[derive(Serialize)]
struct Looked {
    roots: u64,
    metadata_files: u64,
    targets_roles: u64,
    signatures: u64,
    older_snapshots: u64,
    targets: u64,
    target_files: u64,
    target_bytes: u64,
}

#[derive(Serialize)]
struct Counts {
    error: u64,
    warning: u64,
    note: u64,
}

#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    rule: &'static str,
    section: &'static str,
    subject: String,
    message: String,
}

#[derive(Serialize)]
struct Unread {
    subject: String,
    reason: String,
}

impl From<Checked> for Looked {
    fn from(checked: Checked) -> Self {
        let Checked {
            roots,
            metadata_files,
            targets_roles,
            signatures,
            targets,
            target_files,
            target_bytes,
            older_snapshots,
        } = checked;
        Self { roots, metadata_files, targets_roles, signatures, older_snapshots, targets, target_files, target_bytes }
    }
}

impl Document {
    /// What there is to say about `report`. Findings are sorted by severity, and otherwise as they were made.
    pub fn new(plan: &Plan, report: &Report) -> Self {
        let mut findings: Vec<&_> = report.findings.iter().collect();
        findings.sort_by_key(|finding| finding.severity);
        Self {
            ok: report.is_valid() && report.is_complete(),
            complete: report.is_complete(),
            metadata: plan.metadata.to_string(),
            targets: plan.targets.as_ref().map(ToString::to_string),
            trusted_root: plan.trusted_root.as_ref().map(|(path, _)| path.clone()),
            at: plan.at.to_string(),
            versions: report.versions.clone(),
            checked: report.checked.into(),
            counts: Counts {
                error: report.count(Severity::Error),
                warning: report.count(Severity::Warning),
                note: report.count(Severity::Note),
            },
            findings: findings
                .into_iter()
                .map(|finding| Finding {
                    severity: finding.severity.as_str(),
                    rule: finding.rule.id,
                    section: finding.rule.section,
                    subject: finding.subject.clone(),
                    message: finding.message.clone(),
                })
                .collect(),
            more: report.more.clone(),
            unread: report
                .unread
                .iter()
                .map(|unread| Unread { subject: unread.subject.clone(), reason: unread.reason.clone() })
                .collect(),
        }
    }
}

/// The report for people.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    for (severity, number) in
        [("error", document.counts.error), ("warning", document.counts.warning), ("note", document.counts.note)]
    {
        if number == 0 {
            continue;
        }
        let _ = writeln!(out, "{}:", count(number, severity));
        for finding in document.findings.iter().filter(|finding| finding.severity == severity) {
            let Finding { rule, section, subject, message, .. } = finding;
            let _ = writeln!(out, "  {} [{rule} {section}] {}", one_line(subject), one_line(message));
        }
        out.push('\n');
    }
    for (rule, more) in &document.more {
        let _ = writeln!(out, "{more} more of {rule} are not shown");
    }
    if !document.unread.is_empty() {
        let _ = writeln!(out, "{} could not be looked at:", count(document.unread.len() as u64, "file"));
        for Unread { subject, reason } in &document.unread {
            let _ = writeln!(out, "  {} {}", one_line(subject), one_line(reason));
        }
        out.push('\n');
    }
    let versions: Vec<String> = [TopRole::Root, TopRole::Timestamp, TopRole::Snapshot, TopRole::Targets]
        .iter()
        .filter_map(|role| document.versions.get(role).map(|version| format!("{role} {version}")))
        .collect();
    let Looked { roots, metadata_files, targets_roles, signatures, targets, target_files, target_bytes, .. } =
        document.checked;
    let _ = writeln!(out, "{}, as of {}", versions.join(", "), document.at);
    let _ = writeln!(
        out,
        "looked at {}, {}, {}, {}, {} in {} ({})",
        count(roots, "root"),
        count(metadata_files, "other metadata file"),
        count(targets_roles, "targets role"),
        count(signatures, "signature"),
        count(targets, "target"),
        count(target_files, "file"),
        bytes(target_bytes)
    );
    if document.targets.is_none() {
        out.push_str("target files were left out: name their directory with --targets\n");
    }
    if document.trusted_root.is_none() {
        out.push_str("the oldest root was taken at its word: name the one you know with --trusted-root\n");
    }
    out.push_str(match (document.counts.error, document.complete) {
        (0, true) => "the repository is valid\n",
        (0, false) => "the repository could not be looked at in full\n",
        _ => "the repository is not valid\n",
    });
    out
}
