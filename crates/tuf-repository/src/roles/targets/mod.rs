//! The targets role: target files become signed metadata, one commit record a batch.

mod draft;
mod first;
mod publish;
mod state;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use draft::Draft;
pub(super) use draft::sha256_of;
pub(super) use state::check_log_floor;

use super::{Lifetime, Repository, RoleError, Trust};
use crate::floor::FloorFile;
use crate::log::{Log, Outcome, RoleRef};
use tuf_core::bins::{BINS_ROLE, BinLayout, is_bin};
use tuf_core::document::Document;
use tuf_core::names::{RoleName, TargetPath};
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;

/// Most roles renewed by one record, so that a renewal never holds a release up for long.
const RENEWAL_CHUNK: usize = 2048;
/// How often a commit starts again because another writer was first.
const ATTEMPTS: usize = 64;

/// How targets are spread over roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All in `targets`.
    Flat,
    /// `targets → bins → bin_LO-HI`.
    Bins(BinLayout),
}

/// What the targets role is told by its configuration.
#[derive(Clone, Copy, Debug)]
pub struct TargetsPolicy {
    /// Layout of a repository that is yet to be made. An existing one keeps its own.
    pub layout: Layout,
    /// Of `targets` and `bins`.
    pub targets: Lifetime,
    /// Of each bin.
    pub bins: Lifetime,
}

/// What is signed of a target file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEntry {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

impl TargetEntry {
    fn to_canonical(self) -> Vec<u8> {
        format!("{{\"hashes\":{{\"sha256\":\"{}\"}},\"length\":{}}}", self.sha256, self.length).into_bytes()
    }
}

/// One change to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds or replaces it.
    Put(TargetEntry),
    /// Removes it; with a hash only if it still has that one.
    Remove {
        /// The SHA-256 the caller believes it has.
        expected: Option<Sha256>,
    },
}

/// A request: a drop, a removal. Applied whole or not at all, and once.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Makes it idempotent: a request in a record is answered from there.
    pub request: String,
    /// In order; of two changes to one target the later wins.
    pub changes: Vec<(TargetPath, Change)>,
}

/// A request and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The request's id.
    pub request: String,
    /// What it did.
    pub outcome: Outcome,
    /// The record that holds it.
    pub record: u64,
    /// Whether an earlier call had done it.
    pub earlier: bool,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The record this call made, if any.
    pub record: Option<u64>,
    /// New version per changed role, bins excepted.
    pub versions: BTreeMap<String, u64>,
    /// How many bins changed.
    pub bins_changed: u64,
    /// One per submission, in order.
    pub applied: Vec<Applied>,
}

/// The targets role of one repository.
#[derive(Debug)]
pub struct TargetsRole {
    pub(super) repository: Repository,
    pub(super) trust: Trust,
    pub(super) policy: TargetsPolicy,
    floor: FloorFile,
    pub(super) log: Log,
    /// A flat `targets` as it is on disk, kept because reading a million entries takes longer than signing them.
    pub(super) flat: Option<(RoleRef, Document)>,
    /// The layout of a table of so many roles.
    known_layout: Cell<Option<(usize, Layout)>>,
}

impl TargetsRole {
    /// Opens the role. Nothing is read yet but the floor.
    #[must_use]
    pub fn new(repository: Repository, trust: Trust, policy: TargetsPolicy, floor: FloorFile) -> Self {
        let log = Log::new(Arc::clone(&repository.log));
        Self { repository, trust, policy, floor, log, flat: None, known_layout: Cell::new(None) }
    }

    /// The commit log as last read.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The floor.
    #[must_use]
    pub fn floor(&self) -> &FloorFile {
        &self.floor
    }

    /// What the role trusts.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The reference of `targets`, as last read.
    #[must_use]
    pub fn current(&self) -> Option<&RoleRef> {
        self.log.roles().get(&RoleName::targets())
    }

    /// When the next of the role's metadata will be renewed, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.log.roles().iter().map(|(role, entry)| self.lifetime(role).renewal(entry.expires)).min()
    }

    /// When the first of the bins, or the role above them, expires, as last read. `None` without bins.
    #[must_use]
    pub fn bins_expire(&self) -> Option<UtcTime> {
        if self.layout() == Layout::Flat {
            return None;
        }
        let bins = self.log.roles().iter().filter(|(role, _)| role.as_str() == BINS_ROLE || is_bin(role));
        bins.map(|(_, entry)| entry.expires).min()
    }

    /// The layout of the repository as it is.
    #[must_use]
    pub fn layout(&self) -> Layout {
        // Roles are only ever added to the table, so that their number tells whether it has to be looked through again.
        let count = self.log.roles().len();
        match self.known_layout.get() {
            Some((known, layout)) if known == count => layout,
            _ => {
                let layout = BinLayout::of_roles(self.log.roles().keys()).map_or(Layout::Flat, Layout::Bins);
                self.known_layout.set(Some((count, layout)));
                layout
            }
        }
    }

    /// Does what is due: the first versions, renewals (all with `force`), a base. Returns the roles renewed.
    ///
    /// # Errors
    /// [`RoleError`].
    pub fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<BTreeMap<RoleName, u64>, RoleError> {
        self.refresh(now)?;
        let mut renewed = BTreeMap::new();
        if self.log.head() == 0 {
            self.initialize(now)?;
            return Ok(renewed);
        }
        let mut due: BTreeSet<RoleName> = self
            .log
            .roles()
            .iter()
            .filter(|(role, entry)| force || self.lifetime(role).due(entry.expires, now))
            .map(|(role, _)| role.clone())
            .collect();
        for _ in 0..ATTEMPTS {
            let chunk: Vec<RoleName> = due.iter().take(RENEWAL_CHUNK).cloned().collect();
            if chunk.is_empty() {
                break;
            }
            let old = self.load(&chunk)?;
            let drafts = old
                .into_iter()
                .map(|(role, document)| {
                    let expires = self.lifetime(&role).expiry(now);
                    let document = document.edit(&BTreeMap::new(), document.version() + 1, expires);
                    Draft { role, document }
                })
                .collect();
            match self.publish(drafts, BTreeMap::new(), now, None)? {
                Some((_, versions)) => {
                    for role in &chunk {
                        due.remove(role);
                    }
                    renewed.extend(versions);
                }
                None => {
                    self.refresh(now)?;
                    due.retain(|role| {
                        force || self.log.roles().get(role).is_some_and(|e| self.lifetime(role).due(e.expires, now))
                    });
                }
            }
        }
        self.base_if_due(now)?;
        Ok(renewed)
    }

    /// Applies submissions in one record. Those applied before are answered from their records. A base that becomes due
    /// is left to [`TargetsRole::reconcile`], because nobody waits for that.
    ///
    /// # Errors
    /// [`RoleError::Refused`] when a removal's precondition does not hold: nothing was changed. [`RoleError`].
    pub fn commit(&mut self, submissions: &[Submission], now: UtcTime) -> Result<Commit, RoleError> {
        self.refresh(now)?;
        if self.log.head() == 0 {
            self.initialize(now)?;
        }
        let before: BTreeSet<&str> = submissions
            .iter()
            .map(|submission| submission.request.as_str())
            .filter(|request| self.log.outcome(request).is_some())
            .collect();
        let mut commit = Commit::default();
        for _ in 0..ATTEMPTS {
            let mut seen = BTreeSet::new();
            let pending: Vec<&Submission> = submissions
                .iter()
                .filter(|submission| {
                    self.log.outcome(&submission.request).is_none() && seen.insert(submission.request.as_str())
                })
                .collect();
            if pending.is_empty() {
                commit.applied = submissions.iter().filter_map(|s| self.applied(&s.request, &before)).collect();
                return Ok(commit);
            }
            let (drafts, results) = self.draft(&pending, now)?;
            if let Some((record, versions)) = self.publish(drafts, results, now, None)? {
                commit.record = Some(record);
                commit.bins_changed = versions.keys().filter(|role| is_bin(role)).count() as u64;
                commit.versions = versions
                    .into_iter()
                    .filter(|(role, _)| !is_bin(role))
                    .map(|(role, version)| (role.to_string(), version))
                    .collect();
            } else {
                self.refresh(now)?;
            }
        }
        Err(RoleError::Infrastructure(format!("another writer of the commit log was first {ATTEMPTS} times in a row")))
    }

    /// What is signed now of those of `paths` that are targets.
    ///
    /// # Errors
    /// [`RoleError`] when log or metadata cannot be read.
    pub fn entries_of<'p>(
        &mut self,
        paths: impl Iterator<Item = &'p TargetPath>,
        now: UtcTime,
    ) -> Result<BTreeMap<TargetPath, TargetEntry>, RoleError> {
        self.refresh(now)?;
        let mut found = BTreeMap::new();
        if self.log.head() == 0 {
            return Ok(found);
        }
        let layout = self.layout();
        let mut wanted: BTreeMap<RoleName, Vec<&TargetPath>> = BTreeMap::new();
        for path in paths {
            let role = match layout {
                Layout::Flat => "targets".to_owned(),
                Layout::Bins(bins) => bins.name(bins.index_of(path)).to_string(),
            };
            let role = RoleName::new(&role).map_err(|error| RoleError::Alarm(error.to_string()))?;
            wanted.entry(role).or_default().push(path);
        }
        let roles: Vec<RoleName> = wanted.keys().cloned().collect();
        for ((role, document), paths) in self.load(&roles)?.into_iter().zip(wanted.into_values()) {
            for path in paths {
                if let Some(entry) = document.get(path.as_str()).and_then(TargetEntry::from_canonical) {
                    found.insert(path.clone(), entry);
                }
            }
            self.keep(&role, document);
        }
        Ok(found)
    }

    /// The outcome of a request that is in a record already.
    ///
    /// # Errors
    /// [`RoleError`] when the log cannot be read.
    pub fn outcome_of(&mut self, request: &str, now: UtcTime) -> Result<Option<Applied>, RoleError> {
        self.refresh(now)?;
        Ok(self.applied(request, &BTreeSet::from([request])))
    }

    fn applied(&self, request: &str, before: &BTreeSet<&str>) -> Option<Applied> {
        let stored = self.log.outcome(request)?;
        Some(Applied {
            request: request.to_owned(),
            outcome: stored.outcome,
            record: stored.record,
            earlier: before.contains(request),
        })
    }

    fn lifetime(&self, role: &RoleName) -> Lifetime {
        if is_bin(role) { self.policy.bins } else { self.policy.targets }
    }
}
