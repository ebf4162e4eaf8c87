//! A running audit: its input and its report.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use super::client_concerns::ClientConcerns;
use super::options::AuditOptions;
use super::progress::{AuditProgress, AuditStage};
use super::report::{Report, Severity, Unread};
use super::rules::{self, Rule};
use super::source::MetadataSource;
use crate::client::FetchError;
use crate::names::{RoleName, TopRole};

/// The name of the timestamp file, which never has a version in front.
pub(super) const TIMESTAMP_FILE: &str = "timestamp.json";

/// A running audit.
pub(super) struct RunningAudit<'a> {
    pub(super) metadata: &'a dyn MetadataSource,
    pub(super) options: &'a AuditOptions,
    pub(super) listing: Option<BTreeSet<String>>,
    pub(super) report: Report,
    pub(super) progress: &'a mut dyn FnMut(AuditProgress),
    /// Rules and keys already reported: a key occurs in many files and is reported once.
    pub(super) reported_keys: BTreeSet<(&'static str, String)>,
    /// The timestamp that was read, if there was one.
    pub(super) seen: Option<Vec<u8>>,
    /// The trusted root's version while a root older than it is checked.
    pub(super) below_trusted: Option<u64>,
    /// What keeps whole clients from reading the repository.
    pub(super) concerns: ClientConcerns,
    /// Role names that cannot be file names, by the name that the audit gives to the role.
    pub(super) odd_names: BTreeMap<RoleName, String>,
    /// Listed files with a version of 2^53 or more, which the audit does not read.
    pub(super) large_versions: BTreeSet<String>,
}

/// The outcome of reading a metadata file.
pub(super) enum MetadataFile {
    Read(Vec<u8>),
    Missing,
    /// Already reported.
    TooLarge,
    /// Already reported.
    Unreadable(FetchError),
}

impl<'a> RunningAudit<'a> {
    pub(super) fn new(
        metadata: &'a dyn MetadataSource,
        options: &'a AuditOptions,
        listing: Option<BTreeSet<String>>,
        progress: &'a mut dyn FnMut(AuditProgress),
    ) -> Self {
        Self {
            metadata,
            options,
            listing,
            report: Report::default(),
            progress,
            reported_keys: BTreeSet::new(),
            seen: None,
            below_trusted: None,
            concerns: ClientConcerns::default(),
            odd_names: BTreeMap::new(),
            large_versions: BTreeSet::new(),
        }
    }

    /// Adds a finding. In a root older than the trusted one it is a note: such a root never changes, and clients that trust the
    /// newer one do not read it.
    pub(super) fn add(&mut self, rule: &'static Rule, severity: Severity, subject: &str, message: impl Into<String>) {
        let (severity, message) = self.as_added(severity, message.into());
        self.report.add(rule, severity, subject, message);
    }

    /// Adds a finding unless the same is there already: a root is checked against its own keys and those of the root before.
    pub(super) fn add_once(&mut self, rule: &'static Rule, severity: Severity, subject: &str, message: String) {
        let (severity, message) = self.as_added(severity, message);
        let mut same = self.report.findings.iter().rev().filter(|finding| finding.rule == rule);
        if !same.any(|finding| finding.subject == subject && finding.message == message) {
            self.report.add(rule, severity, subject, message);
        }
    }

    fn as_added(&self, severity: Severity, message: String) -> (Severity, String) {
        let Some(trusted) = self.below_trusted else { return (severity, message) };
        let message = format!(
            "{message}; only clients that start from a root before the trusted root {trusted} read it, and it can no longer be \
             changed"
        );
        (Severity::Note, message)
    }

    pub(super) fn error(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.add(rule, Severity::Error, subject, message);
    }

    pub(super) fn warn(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.add(rule, Severity::Warning, subject, message);
    }

    pub(super) fn note(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.add(rule, Severity::Note, subject, message);
    }

    /// Notes that something could not be checked.
    pub(super) fn unread(&mut self, subject: &str, reason: impl Into<String>) {
        self.report.unread.push(Unread { subject: subject.to_owned(), reason: reason.into() });
    }

    pub(super) fn progress(&mut self, stage: AuditStage, done: u64, total: u64) {
        (self.progress)(AuditProgress { stage, done, total });
    }

    /// Reads a whole metadata file. A file that is too large or cannot be read is reported.
    pub(super) fn get(&mut self, path: &str, max: u64) -> MetadataFile {
        match self.fetch(path, max) {
            Ok(None) => MetadataFile::Missing,
            Ok(Some(bytes)) if bytes.len() as u64 > max => {
                self.error(rules::L1, path, format!("is larger than {max} bytes and was not read"));
                MetadataFile::TooLarge
            }
            Ok(Some(bytes)) => MetadataFile::Read(bytes),
            Err(error) => {
                self.unread(path, error.to_string());
                MetadataFile::Unreadable(error)
            }
        }
    }

    /// The bytes of a metadata file, at most one more than `max`.
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let Some(file) = self.metadata.fetch(path, max)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(FetchError::new)?;
        Ok(Some(bytes))
    }

    /// Whether the timestamp changed since it was read.
    pub(super) fn has_changed(&self) -> bool {
        let now = self.fetch(TIMESTAMP_FILE, self.options.ceilings.timestamp_bytes);
        now.is_ok_and(|now| now != self.seen)
    }

    /// Versions of `VERSION.ROLE.json` on disk, sorted; empty if the directory cannot be listed.
    pub(super) fn versions_on_disk(&self, role: TopRole) -> Vec<u64> {
        let suffix = format!(".{role}.json");
        let number = |name: &String| {
            let digits = name.strip_suffix(&suffix)?;
            (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
        };
        let mut versions: Vec<u64> = self.listing.iter().flatten().filter_map(number).collect();
        versions.sort_unstable();
        versions
    }
}
