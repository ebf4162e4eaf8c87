//! An audit under way: what it reads, and what it found so far.

use std::collections::BTreeSet;
use std::io::Read as _;

use super::options::AuditOptions;
use super::progress::{AuditProgress, AuditStage};
use super::report::{Report, Severity, Unread};
use super::rules::{self, Rule};
use super::source::MetadataSource;
use crate::names::TopRole;

/// The name of the timestamp file, which never has a version in front.
pub(super) const TIMESTAMP_FILE: &str = "timestamp.json";

/// An audit under way.
pub(super) struct RunningAudit<'a> {
    pub(super) metadata: &'a dyn MetadataSource,
    pub(super) options: &'a AuditOptions,
    pub(super) listing: Option<BTreeSet<String>>,
    pub(super) report: Report,
    pub(super) progress: &'a mut dyn FnMut(AuditProgress),
    /// Rules and keys that were reported before: a key occurs in many files and is reported once.
    pub(super) reported_keys: BTreeSet<(&'static str, String)>,
    /// The timestamp that was read, if any was there.
    pub(super) seen: Option<Vec<u8>>,
}

/// A metadata file that was asked for.
pub(super) enum MetadataFile {
    File(Vec<u8>),
    Missing,
    /// The report says so.
    Unusable,
}

impl<'a> RunningAudit<'a> {
    pub(super) fn error(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Error, subject, message);
    }

    pub(super) fn warn(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Warning, subject, message);
    }

    pub(super) fn note(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Note, subject, message);
    }

    pub(super) fn progress(&mut self, stage: AuditStage, done: u64, total: u64) {
        (self.progress)(AuditProgress { stage, done, total });
    }

    /// Reads a whole metadata file.
    pub(super) fn get(&mut self, path: &str, max: u64) -> MetadataFile {
        let read = match self.metadata.fetch(path, max) {
            Ok(None) => return MetadataFile::Missing,
            Ok(Some(file)) => {
                let mut bytes = Vec::new();
                file.take(max.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(bytes) if bytes.len() as u64 > max => {
                self.error(rules::L1, path, format!("is larger than {max} bytes and was not read"));
                MetadataFile::Unusable
            }
            Ok(bytes) => MetadataFile::File(bytes),
            Err(reason) => {
                self.report.unread.push(Unread { subject: path.to_owned(), reason });
                MetadataFile::Unusable
            }
        }
    }

    /// Whether the timestamp is another one than the one that was read.
    pub(super) fn has_changed(&mut self) -> bool {
        let max = self.options.ceilings.timestamp_bytes;
        let Ok(file) = self.metadata.fetch(TIMESTAMP_FILE, max) else { return false };
        let now = file.map(|file| {
            let mut bytes = Vec::new();
            file.take(max.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
        });
        match now.transpose() {
            Ok(now) => now != self.seen,
            Err(_) => false,
        }
    }

    /// Versions of `VERSION.ROLE.json` on disk, sorted; none where the directory cannot be listed.
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
