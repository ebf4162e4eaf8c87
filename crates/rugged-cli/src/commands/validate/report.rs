//! The report as JSON and as text. Scripts rely on the JSON: members may be added, but never changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tuf_core::audit::{Checked, Report, Severity};
use tuf_core::names::TopRole;

use super::plan::ValidationPlan;
use super::second_opinion::SecondOpinion;
use crate::output::{bytes, count, one_line};

/// The result, as `--json` prints it.
#[derive(Serialize)]
pub struct ValidateReport {
    /// Whether the repository is valid and every file that was looked for could be read.
    ok: bool,
    /// Whether the repository is fully checked, the files of all targets included.
    complete: bool,
    metadata: String,
    /// `null` when target files were not checked.
    targets: Option<String>,
    /// `null` when the repository's oldest root was trusted.
    trusted_root: Option<String>,
    /// The time of the expiry checks.
    at: String,
    /// The versions of root, timestamp, snapshot and targets that could be read.
    versions: BTreeMap<TopRole, u64>,
    checked: CheckedCounts,
    counts: SeverityCounts,
    findings: Vec<ReportedFinding>,
    /// Number of findings that are not listed, by rule.
    more: BTreeMap<&'static str, u64>,
    unread: Vec<UnreadFile>,
    /// The result of tough, with --strict.
    #[serde(skip_serializing_if = "Option::is_none")]
    tough: Option<SecondOpinion>,
    #[serde(skip)]
    readable: bool,
}

/// How much was checked.
#[derive(Serialize)]
struct CheckedCounts {
    roots: u64,
    metadata_files: u64,
    targets_roles: u64,
    signatures: u64,
    older_snapshots: u64,
    targets: u64,
    target_files: u64,
    target_bytes: u64,
    unchecked_targets: u64,
}

/// Number of findings by severity.
#[derive(Serialize)]
struct SeverityCounts {
    error: u64,
    warning: u64,
    note: u64,
}

/// A finding.
#[derive(Serialize)]
struct ReportedFinding {
    severity: &'static str,
    rule: &'static str,
    section: &'static str,
    subject: String,
    message: String,
}

/// A file that could not be read.
#[derive(Serialize)]
struct UnreadFile {
    subject: String,
    reason: String,
}

impl From<Checked> for CheckedCounts {
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
            unchecked_targets,
        } = checked;
        Self {
            roots,
            metadata_files,
            targets_roles,
            signatures,
            older_snapshots,
            targets,
            target_files,
            target_bytes,
            unchecked_targets,
        }
    }
}

impl ValidateReport {
    /// The result of the audit `report`. Findings are sorted by severity, and keep their order within it.
    pub fn new(plan: &ValidationPlan, report: &Report, tough: Option<SecondOpinion>) -> Self {
        let mut findings: Vec<&_> = report.findings.iter().collect();
        findings.sort_by_key(|finding| finding.severity);
        Self {
            ok: report.is_valid() && report.is_complete(),
            complete: report.is_complete() && report.checked.unchecked_targets == 0,
            readable: report.is_complete(),
            tough,
            metadata: plan.metadata.to_string(),
            targets: plan.targets.as_ref().map(ToString::to_string),
            trusted_root: plan.trusted_root.as_ref().map(|(path, _)| path.clone()),
            at: plan.at.to_string(),
            versions: report.versions.clone(),
            checked: report.checked.into(),
            counts: SeverityCounts {
                error: report.count(Severity::Error),
                warning: report.count(Severity::Warning),
                note: report.count(Severity::Note),
            },
            findings: findings
                .into_iter()
                .map(|finding| ReportedFinding {
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
                .map(|unread| UnreadFile { subject: unread.subject.clone(), reason: unread.reason.clone() })
                .collect(),
        }
    }
}

/// The report as text.
pub fn text(report: &ValidateReport) -> String {
    let mut out = String::new();
    for (severity, number) in
        [("error", report.counts.error), ("warning", report.counts.warning), ("note", report.counts.note)]
    {
        if number == 0 {
            continue;
        }
        let _ = writeln!(out, "{}:", count(number, severity));
        for finding in report.findings.iter().filter(|finding| finding.severity == severity) {
            let ReportedFinding { rule, section, subject, message, .. } = finding;
            let _ = writeln!(out, "  {} [{rule} {section}] {}", one_line(subject), one_line(message));
        }
        out.push('\n');
    }
    for (rule, more) in &report.more {
        let are = if *more == 1 { "is" } else { "are" };
        let _ = writeln!(out, "{} of {rule} {are} not shown", count(*more, "more finding"));
    }
    if !report.unread.is_empty() {
        let _ = writeln!(out, "{} could not be read:", count(report.unread.len() as u64, "file"));
        for UnreadFile { subject, reason } in &report.unread {
            let _ = writeln!(out, "  {} {}", one_line(subject), one_line(reason));
        }
        out.push('\n');
    }
    let versions: Vec<String> = [TopRole::Root, TopRole::Timestamp, TopRole::Snapshot, TopRole::Targets]
        .iter()
        .filter_map(|role| report.versions.get(role).map(|version| format!("{role} {version}")))
        .collect();
    let CheckedCounts {
        roots,
        metadata_files,
        targets_roles,
        signatures,
        targets,
        target_files,
        target_bytes,
        unchecked_targets,
        ..
    } = report.checked;
    let _ = writeln!(out, "{}, as of {}", versions.join(", "), report.at);
    let _ = writeln!(
        out,
        "checked {}, {}, {}, {}, {} in {} ({})",
        count(roots, "root"),
        count(metadata_files, "other metadata file"),
        count(targets_roles, "targets role"),
        count(signatures, "signature"),
        count(targets, "target"),
        count(target_files, "file"),
        bytes(target_bytes)
    );
    if unchecked_targets > 0 {
        let remedy = if report.targets.is_none() { "; name their directory with --targets" } else { "" };
        let _ = match unchecked_targets {
            1 => writeln!(out, "the file of 1 target was not checked{remedy}"),
            number => writeln!(out, "the files of {number} targets were not checked{remedy}"),
        };
    }
    if let Some(tough) = &report.tough {
        let _ = writeln!(out, "{}", tough.text(report.targets.is_some()));
    }
    if report.trusted_root.is_none() {
        out.push_str("the oldest root was trusted; name a root that you trust with --trusted-root\n");
    }
    out.push_str(match (report.counts.error, report.readable) {
        (0, true) if unchecked_targets > 0 && target_files == 0 => {
            "the repository is valid, but no target file was checked\n"
        }
        (0, true) if unchecked_targets > 0 => "the repository is valid, but not every target file was checked\n",
        (0, true) => "the repository is valid\n",
        (0, false) => "the repository was not fully checked\n",
        _ => "the repository is not valid\n",
    });
    out
}
