//! The repository side of the specification, checked on any repository.
//!
//! A client stops at the first thing that is wrong; an audit goes on. It reads what a strict reader refuses, says what
//! is wrong with it, repairs it in memory and looks at the rest, so that one run lists everything there is to mend.
//! Nothing found in this way is ever trusted: this module reports, and the client decides.

mod history;
mod keys;
mod lenient;
mod lint;
mod report;
mod root;
pub mod rules;
mod target_files;
mod top;
mod tree;

use std::collections::BTreeSet;
use std::io::Read as _;

pub use report::{Checked, Finding, MAX_FINDINGS_PER_RULE, Report, Severity, Unread};
pub use rules::Rule;

use crate::client::{Fetch, FetchError};
use crate::time::UtcTime;

/// A metadata directory. Nothing it returns is trusted.
pub trait Source: Fetch {
    /// Names of all files in the directory, or `None` where that cannot be had, as over HTTP. Some rules can be
    /// checked only with it: versions that go back, gaps, leftovers.
    ///
    /// # Errors
    /// [`FetchError`] if the directory can be listed in principle and could not be now.
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        Ok(None)
    }
}

/// How much an audit reads of one file. What is larger is a finding, and is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceilings {
    /// Of a root, in bytes.
    pub root_bytes: u64,
    /// Of the timestamp, in bytes.
    pub timestamp_bytes: u64,
    /// Of the snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// Of targets metadata, in bytes.
    pub targets_bytes: u64,
    /// Roots that are followed.
    pub roots: u64,
    /// Targets roles that are looked at.
    pub roles: usize,
    /// Snapshots older than the current one that are looked at, newest first.
    pub older_snapshots: usize,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            root_bytes: 8 << 20,
            timestamp_bytes: 1 << 20,
            snapshot_bytes: 256 << 20,
            targets_bytes: 1 << 30,
            roots: 1 << 16,
            roles: 1 << 20,
            older_snapshots: 32,
        }
    }
}

/// What to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The time at which nothing may be expired.
    pub now: UtcTime,
    /// The root file to trust. Without one, the oldest root of the repository is taken at its word.
    pub trusted_root: Option<Vec<u8>>,
    /// How much is read.
    pub ceilings: Ceilings,
    /// Whether target files under the name that only tough uses (`HASH.dir/name`) are checked too, where they are
    /// there. It costs a look for each target in a sub-directory.
    pub tough_names: bool,
}

impl Options {
    /// Everything, as of `now`.
    #[must_use]
    pub fn at(now: UtcTime) -> Self {
        Self { now, trusted_root: None, ceilings: Ceilings::default(), tough_names: true }
    }
}

/// What an audit is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading roots; their number is not known beforehand.
    Roots,
    /// Reading targets metadata.
    Roles,
    /// Finding every target as a client does.
    Search,
    /// Hashing target files.
    TargetFiles,
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is busy with.
    pub stage: Stage,
    /// How many are done.
    pub done: u64,
    /// Of how many; 0 if unknown.
    pub total: u64,
}

/// Why there was nothing to audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The first file could not be read, for a reason other than not being there.
    #[error("cannot read {path}: {error}")]
    Fetch {
        /// The file.
        path: String,
        /// Why.
        error: FetchError,
    },
    /// The directory cannot be listed.
    #[error("cannot list the metadata directory: {0}")]
    List(FetchError),
    /// Neither a root nor a timestamp is there.
    #[error("this is no repository: neither 1.root.json, nor another root, nor timestamp.json is there")]
    NoRepository,
}

/// How often a repository that changes while it is looked at is looked at again.
const ATTEMPTS: u32 = 3;

/// Checks a repository against every rule of [`rules`], [`rules::X1`] excepted. `targets` is the directory of target
/// files, or none to leave them out.
///
/// Target files are read once per name, one after the other; memory grows with the metadata of all targets roles, not
/// with target files. A repository may be published to meanwhile: if something is wrong and the timestamp is another
/// one at the end, what was read may not belong together, and everything is looked at again, three times at most.
///
/// # Errors
/// [`AuditError`] if there was nothing to look at. What goes wrong later is in the report.
pub fn audit(
    metadata: &dyn Source,
    targets: Option<&dyn Fetch>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    let mut attempt = 1;
    loop {
        let listing = metadata.list().map_err(AuditError::List)?.map(|names| names.into_iter().collect());
        let (report, reported_keys) = (Report::default(), BTreeSet::new());
        let mut audit =
            Audit { metadata, options, listing, report, progress: &mut *progress, reported_keys, seen: None };
        let root = audit.roots()?;
        audit.repository(&root, targets);
        let wrong = !audit.report.is_valid() || audit.report.count(Severity::Warning) > 0;
        if attempt == ATTEMPTS || !wrong || !audit.has_changed() {
            return Ok(audit.report);
        }
        attempt += 1;
    }
}

/// An audit under way.
struct Audit<'a> {
    metadata: &'a dyn Source,
    options: &'a Options,
    listing: Option<BTreeSet<String>>,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    /// Rules and keys that were reported before: a key occurs in many files and is reported once.
    reported_keys: BTreeSet<(&'static str, String)>,
    /// The timestamp that was read, if any was there.
    seen: Option<Vec<u8>>,
}

/// A metadata file that was asked for.
enum Got {
    File(Vec<u8>),
    Missing,
    /// The report says so.
    Unusable,
}

impl<'a> Audit<'a> {
    fn error(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Error, subject, message);
    }

    fn warn(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Warning, subject, message);
    }

    fn note(&mut self, rule: &'static Rule, subject: &str, message: impl Into<String>) {
        self.report.add(rule, Severity::Note, subject, message);
    }

    fn progress(&mut self, stage: Stage, done: u64, total: u64) {
        (self.progress)(Progress { stage, done, total });
    }

    /// Reads a whole metadata file.
    fn get(&mut self, path: &str, max: u64) -> Got {
        let read = match self.metadata.fetch(path, max) {
            Ok(None) => return Got::Missing,
            Ok(Some(file)) => {
                let mut bytes = Vec::new();
                file.take(max.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(bytes) if bytes.len() as u64 > max => {
                self.error(rules::L1, path, format!("is larger than {max} bytes and was not read"));
                Got::Unusable
            }
            Ok(bytes) => Got::File(bytes),
            Err(reason) => {
                self.report.unread.push(Unread { subject: path.to_owned(), reason });
                Got::Unusable
            }
        }
    }

    /// Whether the timestamp is another one than the one that was read.
    fn has_changed(&mut self) -> bool {
        let max = self.options.ceilings.timestamp_bytes;
        let Ok(file) = self.metadata.fetch(top::TIMESTAMP, max) else { return false };
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
    fn versions_on_disk(&self, role: &str) -> Vec<u64> {
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

/// Text from outside, shortened for a message.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}
