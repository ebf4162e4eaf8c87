//! The findings of preflight checks.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::roles::WorkerRole;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// Worth knowing.
    Info,
    /// The worker starts, and may not be able to do its work.
    Warn,
    /// The worker does not start.
    Refuse,
}

impl fmt::Display for FindingSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        })
    }
}

/// The role a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingScope {
    /// One role.
    Role(WorkerRole),
    /// Every role: the administrator's own check.
    AllRoles,
}

impl fmt::Display for FindingScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => role.fmt(f),
            Self::AllRoles => f.pad("all"),
        }
    }
}

impl Serialize for FindingScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A fact that an operator should know, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreflightFinding {
    /// Its severity.
    pub severity: FindingSeverity,
    /// The check: `place`, `mount`, `mode`, `umask`, `space`, `write`, `keys`, `root`, `clock`, `floor`, `isolation`,
    /// `broker`, `clients`.
    pub check: &'static str,
    /// The role it was checked for.
    pub role: FindingScope,
    /// The path (or address) it is about.
    pub subject: String,
    /// The fact.
    pub message: String,
    /// The remedy.
    pub advice: String,
}

impl fmt::Display for PreflightFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// Collects the findings of one role.
pub(super) struct Findings {
    scope: FindingScope,
    pub(super) all: Vec<PreflightFinding>,
}

impl Findings {
    pub(super) fn new(scope: FindingScope) -> Self {
        Self { scope, all: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        severity: FindingSeverity,
        check: &'static str,
        subject: &Path,
        message: String,
        advice: &str,
    ) {
        let subject = subject.display().to_string();
        let (role, advice) = (self.scope, advice.to_owned());
        self.all.push(PreflightFinding { severity, check, role, subject, message, advice });
    }

    pub(super) fn warn(&mut self, check: &'static str, subject: &Path, message: impl Into<String>, advice: &str) {
        self.add(FindingSeverity::Warn, check, subject, message.into(), advice);
    }
}
