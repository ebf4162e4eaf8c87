//! What an audit found.

use std::collections::BTreeMap;
use std::fmt;

use super::rules::Rule;
use crate::names::TopRole;

/// Findings of one rule that are kept; more are counted.
pub const MAX_FINDINGS_PER_RULE: usize = 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The specification is broken, or clients in the field refuse the repository.
    Error,
    /// Permitted, but some clients cannot read it, or it protects less than it could.
    Warning,
    /// Worth knowing; nothing needs to be done.
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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static Rule,
    /// How bad it is.
    pub severity: Severity,
    /// The file it is about, below the metadata directory or, where the rule is about target files, the targets
    /// directory. May hold any character that a JSON string can.
    pub subject: String,
    /// What is wrong and what to do about it. May quote what was read.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}: {}", self.severity, self.rule.id, self.subject, self.message)
    }
}

/// A file that could not be looked at, for a reason that says nothing about the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The file.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Versions of the root.
    pub roots: u64,
    /// Metadata files other than roots.
    pub metadata_files: u64,
    /// Targets roles, the top-level one included.
    pub targets_roles: u64,
    /// Signatures.
    pub signatures: u64,
    /// Targets that clients can find.
    pub targets: u64,
    /// Target files, each under one name.
    pub target_files: u64,
    /// Bytes of those.
    pub target_bytes: u64,
    /// Snapshots older than the current one.
    pub older_snapshots: u64,
}

/// What an audit found, and how far it got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Findings in the order in which they were made, at most [`MAX_FINDINGS_PER_RULE`] of a rule.
    pub findings: Vec<Finding>,
    /// Findings that were not kept, by rule id.
    pub more: BTreeMap<&'static str, u64>,
    /// What could not be looked at. The report says nothing about these files.
    pub unread: Vec<Unread>,
    /// How much was looked at.
    pub checked: Checked,
    /// Versions of what clients see: `root`, `timestamp`, `snapshot` and `targets`, as far as they could be read.
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

    /// How many findings there are of this severity, those that were not kept included.
    #[must_use]
    pub fn count(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
            Severity::Note => self.notes,
        }
    }

    /// Whether nothing is wrong with what was looked at. Warnings and notes do not count.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors == 0
    }

    /// Whether everything could be looked at.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unread.is_empty()
    }
}
