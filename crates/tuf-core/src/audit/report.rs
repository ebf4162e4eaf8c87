//! The findings of an audit.

use std::collections::BTreeMap;
use std::fmt;

use super::rules::Rule;
use crate::names::TopRole;

/// Most findings of one rule that are kept; further ones are counted.
pub const MAX_FINDINGS_PER_RULE: usize = 1000;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Clients that follow the specification cannot use the repository, a file or a target, or a common client refuses the
    /// whole repository.
    Error,
    /// Clients that follow the specification can verify the repository, but some client refuses a part of it or does not find a
    /// target, or it is less protected than it could be.
    Warning,
    /// Worth knowing; no action is needed.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The violated rule.
    pub rule: &'static Rule,
    /// The severity.
    pub severity: Severity,
    /// The file in question, below the metadata directory or, for rules about target files, below the targets
    /// directory. May hold any character that a JSON string can.
    pub subject: String,
    /// The fault and its remedy. May quote text from the file.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}: {}", self.severity, self.rule.id, self.subject, self.message)
    }
}

/// A file that could not be read, for a reason that says nothing about the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The file.
    pub subject: String,
    /// The reason.
    pub reason: String,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Versions of the root.
    pub roots: u64,
    /// Metadata files other than roots.
    pub metadata_files: u64,
    /// Targets roles, including the top-level role.
    pub targets_roles: u64,
    /// Signatures.
    pub signatures: u64,
    /// Targets that clients can find.
    pub targets: u64,
    /// Target files; a file with two names counts twice.
    pub target_files: u64,
    /// Bytes of those.
    pub target_bytes: u64,
    /// Snapshots older than the current one.
    pub older_snapshots: u64,
    /// Listed targets whose file was not checked: without a directory of target files all of them, else those that the audit
    /// cannot look for, because of their path or because no client finds them, and those whose file could not be read.
    pub unchecked_targets: u64,
}

/// The findings of an audit, and how much it checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Findings in the order in which they were found, at most [`MAX_FINDINGS_PER_RULE`] of a rule.
    pub findings: Vec<Finding>,
    /// Findings that were not kept, by rule id.
    pub more: BTreeMap<&'static str, u64>,
    /// Files that could not be read. The report says nothing about them.
    pub unread: Vec<Unread>,
    /// How much was checked.
    pub checked: Checked,
    /// Versions of the top-level roles that clients see, as far as they could be read.
    pub versions: BTreeMap<TopRole, u64>,
    errors: u64,
    warnings: u64,
    notes: u64,
    per_rule: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Adds a finding.
    pub fn add(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => self.notes += 1,
        }
        let kept = self.per_rule.entry(rule.id).or_default();
        if *kept == MAX_FINDINGS_PER_RULE {
            *self.more.entry(rule.id).or_default() += 1;
            return;
        }
        *kept += 1;
        self.findings.push(Finding { rule, severity, subject: subject.into(), message: message.into() });
    }

    /// The number of findings of this severity, including those that were not kept.
    #[must_use]
    pub fn count(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
            Severity::Note => self.notes,
        }
    }

    /// Whether no error was found in the files that were read. Warnings and notes do not count.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors == 0
    }

    /// Whether every file could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unread.is_empty()
    }
}
