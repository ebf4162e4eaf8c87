//! The targets role: target files become signed metadata, one commit record a batch.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::parallel::{beside, try_map};
use super::signed_file::{SignedFile, length};
use super::{Lifetime, MAX_TARGETS, Repository, RoleError, Trust, free_version, recover, versioned};
use crate::bins::{BINS_ROLE, BinLayout, is_bin};
use crate::canonical::Extra;
use crate::canonical::read::Wire;
use crate::document::{Document, DocumentType};
use crate::envelope::Envelope;
use crate::floor::{Floor, FloorFile, RecordFloor};
use crate::log::{Appended, Digest, Log, Outcome, RoleRef};
use crate::names::{RoleName, TargetPath};
use crate::schema::{DelegatedPaths, DelegatedRole, Delegations, HashPrefix};
use crate::store::{Created, Store};
use crate::time::UtcTime;

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
    pub sha256: Digest,
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
        expected: Option<Digest>,
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

/// A record's number, and the new version of each role in it.
type Published = (u64, BTreeMap<RoleName, u64>);

/// A role's next version, not written yet.
struct Draft {
    role: RoleName,
    document: Document,
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
        let bins = self.log.roles().iter().filter(|(role, _)| role.as_str() == BINS_ROLE || is_bin(role.as_str()));
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
                commit.bins_changed = versions.keys().filter(|role| is_bin(role.as_str())).count() as u64;
                commit.versions = versions
                    .into_iter()
                    .filter(|(role, _)| !is_bin(role.as_str()))
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
                Layout::Bins(bins) => bins.name(bins.index_of(path)),
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
        if is_bin(role.as_str()) { self.policy.bins } else { self.policy.targets }
    }

    /// Reads root and log and holds them against the floor.
    pub(super) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        // Without the key nothing can be done; said here, where every call passes.
        self.trust.signers_of(&RoleName::targets())?;
        let trust = &self.trust;
        self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        if let Err(below) = check_log_floor(&self.log, floor.record) {
            // Read anew each time: the log goes on by another record than this process knows.
            self.log.forget();
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            tracing::warn!("going on above the floor: {below}");
            self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
            self.go_on_above(&floor, now)?;
        }
        recover::check_clock(&mut self.floor, now)?;
        // A record whose floor could not be written when it was made is noted before anything is built on it, or the floor
        // would stay behind for as long as its volume is full.
        let (root, reached) = (self.trust.version(), self.reached());
        if self.floor.get().is_none_or(|floor| floor.root != root || floor.record != reached) {
            let highest = recover::highest_version(&self.log);
            self.floor.raise(|floor| {
                floor.root = root;
                floor.record = reached;
                floor.role_version = highest;
            })?;
        }
        Ok(())
    }

    /// The newest record, as a floor remembers it.
    fn reached(&self) -> Option<RecordFloor> {
        self.log.head_digest().map(|digest| RecordFloor { digest, number: self.log.position() })
    }

    /// One record that gives every role a version above all that clients may have seen, and uses up every number that a
    /// lost record may have had.
    fn go_on_above(&mut self, floor: &Floor, now: UtcTime) -> Result<(), RoleError> {
        if self.log.head() == 0 {
            return Err(RoleError::Alarm(
                "the commit log is empty: nothing was restored that could be gone on from".into(),
            ));
        }
        let above = recover::role_version_above(floor, &self.log);
        let roles: Vec<RoleName> = self.log.roles().keys().cloned().collect();
        let drafts = self
            .load(&roles)?
            .into_iter()
            .map(|(role, document)| {
                let expires = self.lifetime(&role).expiry(now);
                let document = document.edit(&BTreeMap::new(), above, expires);
                Draft { role, document }
            })
            .collect();
        let lost = floor.record.map_or(0, |record| record.number);
        match self.publish(drafts, BTreeMap::new(), now, Some(lost + recover::MARGIN))? {
            Some((record, _)) => {
                self.floor.recovered(now)?;
                tracing::warn!(
                    log.record = record,
                    "the commit log goes on above the floor: record {record}, every role at version {above} or higher"
                );
                Ok(())
            }
            None => Err(RoleError::Infrastructure("another targets-worker went on first: look again".into())),
        }
    }

    fn initialize(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.floor.get().is_some_and(|floor| floor.record.is_some()) {
            return Err(RoleError::Alarm("the commit log is empty but the floor says it was not".into()));
        }
        let expires = self.policy.targets.expiry(now);
        let mut drafts = Vec::new();
        let mut empty = |name: String, expires: UtcTime, extra: BTreeMap<String, Vec<u8>>| {
            let role = RoleName::new(&name).map_err(|error| RoleError::Alarm(error.to_string()))?;
            drafts.push(Draft { role, document: Document::empty(DocumentType::Targets, 1, expires, extra) });
            Ok::<_, RoleError>(())
        };
        let delegating =
            |roles| Ok::<_, RoleError>(BTreeMap::from([("delegations".to_owned(), self.delegate(roles)?)]));
        match self.policy.layout {
            Layout::Flat => empty("targets".into(), expires, BTreeMap::new())?,
            Layout::Bins(layout) => {
                for name in layout.names() {
                    empty(name, self.policy.bins.expiry(now), BTreeMap::new())?;
                }
                let bins = (0..layout.count()).map(|index| (layout.name(index), layout.prefixes(index))).collect();
                empty(BINS_ROLE.into(), expires, delegating(bins)?)?;
                // Every path: the sixteen one-digit prefixes, which all clients match alike (`*` stops at a slash).
                let all = (0..16).map(|digit| format!("{digit:x}")).collect();
                empty("targets".into(), expires, delegating(vec![(BINS_ROLE.into(), all)])?)?;
            }
        }
        // A lost race is as good: the winner's version 1 is ours.
        if self.publish(drafts, BTreeMap::new(), now, None)?.is_none() {
            self.refresh(now)?;
        }
        Ok(())
    }

    /// `delegations` to roles signed with the targets keys, as canonical JSON.
    fn delegate(&self, roles: Vec<(String, Vec<String>)>) -> Result<Vec<u8>, RoleError> {
        let alarm = |error: &dyn std::fmt::Display| RoleError::Alarm(error.to_string());
        let own = self.trust.role_keys(&RoleName::targets())?;
        let keys = own
            .keyids
            .iter()
            .filter_map(|id| self.trust.root().keys.get(id).map(|key| (id.clone(), key.clone())))
            .collect();
        let roles = roles
            .into_iter()
            .map(|(name, prefixes)| {
                Ok(DelegatedRole {
                    name: RoleName::new(&name).map_err(|error| alarm(&error))?,
                    keyids: own.keyids.clone(),
                    threshold: own.threshold,
                    terminating: false,
                    paths: DelegatedPaths::HashPrefixes(
                        prefixes.iter().map(|p| HashPrefix::new(p)).collect::<Result<_, _>>().map_err(|e| alarm(&e))?,
                    ),
                    extra: Extra::new(),
                })
            })
            .collect::<Result<_, RoleError>>()?;
        let mut out = Vec::new();
        Delegations::new(keys, roles).write(&mut out);
        Ok(out)
    }

    /// The current documents of roles, checked against the log.
    fn load(&mut self, roles: &[RoleName]) -> Result<Vec<(RoleName, Document)>, RoleError> {
        let mut cached = self.flat.take();
        let mut wanted = Vec::with_capacity(roles.len());
        for role in roles {
            let entry = self.log.roles().get(role).ok_or_else(|| {
                RoleError::Alarm(format!("the role {role} is not in the commit log: the layout is incomplete"))
            })?;
            let document = match &cached {
                Some((known, _)) if known == entry && role.as_str() == "targets" => cached.take().map(|(_, d)| d),
                _ => None,
            };
            wanted.push((role.clone(), entry.clone(), document));
        }
        let metadata = self.repository.metadata.as_ref();
        try_map(wanted, |(role, entry, document)| match document {
            Some(document) => Ok((role, document)),
            None => read_listed(metadata, &role, &entry).map(|document| (role, document)),
        })
    }

    /// Works out what the submissions change.
    fn draft(
        &mut self,
        pending: &[&Submission],
        now: UtcTime,
    ) -> Result<(Vec<Draft>, BTreeMap<String, Outcome>), RoleError> {
        let layout = self.layout();
        let role_of = |path: &TargetPath| match layout {
            Layout::Flat => "targets".to_owned(),
            Layout::Bins(bins) => bins.name(bins.index_of(path)),
        };
        let mut touched: BTreeMap<String, Vec<(usize, &TargetPath, Change)>> = BTreeMap::new();
        for (index, submission) in pending.iter().enumerate() {
            for (path, change) in &submission.changes {
                touched.entry(role_of(path)).or_default().push((index, path, *change));
            }
        }
        let roles = touched
            .keys()
            .map(|name| RoleName::new(name).map_err(|error| RoleError::Alarm(error.to_string())))
            .collect::<Result<Vec<_>, _>>()?;
        let mut outcomes = vec![Outcome::default(); pending.len()];
        let mut replaced = 0_u64;
        let mut edits = Vec::with_capacity(roles.len());
        for ((role, document), changes) in self.load(&roles)?.into_iter().zip(touched.into_values()) {
            let mut entries: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
            for (index, path, change) in changes {
                let current = match entries.get(path.as_str()) {
                    Some(entry) => entry.as_deref(),
                    None => document.get(path.as_str()),
                };
                match change {
                    Change::Put(entry) => {
                        outcomes[index].added += 1;
                        if current.is_some_and(|current| current != entry.to_canonical()) {
                            replaced += 1;
                            tracing::debug!(target.path = %path, "{path} is replaced by {}", pending[index].request);
                        }
                        entries.insert(path.to_string(), Some(entry.to_canonical()));
                    }
                    Change::Remove { expected } => match current {
                        None => outcomes[index].not_found += 1,
                        Some(current) => {
                            if let Some(expected) = expected
                                && sha256_of(current) != Some(expected)
                            {
                                return Err(RoleError::Refused(format!(
                                    "{path} does not have the expected sha256 {expected}: nothing was removed"
                                )));
                            }
                            outcomes[index].removed += 1;
                            entries.insert(path.to_string(), None);
                        }
                    },
                }
            }
            // What is signed already as it should be needs no new version.
            entries.retain(|path, entry| document.get(path) != entry.as_deref());
            edits.push((role, document, entries));
        }
        if replaced > 0 {
            tracing::info!(targets.replaced = replaced, "{replaced} targets get other content than they had");
        }
        let lifetimes: Vec<i64> = edits.iter().map(|(role, ..)| self.lifetime(role).seconds).collect();
        let mut unchanged = None;
        let work: Vec<_> = edits
            .into_iter()
            .zip(lifetimes)
            .filter_map(|((role, document, entries), lifetime)| {
                if entries.is_empty() {
                    unchanged = Some((role, document));
                    return None;
                }
                Some((role, document, entries, lifetime))
            })
            .collect();
        let drafts = try_map(work, |(role, document, entries, lifetime)| {
            let document = document.edit(&entries, document.version() + 1, now.plus_seconds(lifetime));
            Ok::<_, RoleError>(Draft { role, document })
        })?;
        if let Some((role, document)) = unchanged {
            self.keep(&role, document);
        }
        let results = pending.iter().map(|s| s.request.clone()).zip(outcomes).collect();
        Ok((drafts, results))
    }

    /// Signs and creates the drafts under free version numbers, then appends the record. `None`: another writer was
    /// first; what was created is not state and is left for retention.
    fn publish(
        &mut self,
        drafts: Vec<Draft>,
        results: BTreeMap<String, Outcome>,
        now: UtcTime,
        skip_to: Option<u64>,
    ) -> Result<Option<Published>, RoleError> {
        let metadata = self.repository.metadata.as_ref();
        let trust = &self.trust;
        let mut refs = BTreeMap::new();
        let mut kept = None;
        let mut todo = drafts;
        while !todo.is_empty() {
            let alone = todo.len() == 1;
            let mut signed = try_map(todo.iter_mut().collect(), |draft: &mut Draft| {
                let version = free_version(metadata, &draft.role, draft.document.version())?;
                if version != draft.document.version() {
                    let expires = draft.document.expires();
                    draft.document = draft.document.edit(&BTreeMap::new(), version, expires);
                }
                let name = versioned(&draft.role, version)?;
                let file = SignedFile::sign(metadata, trust, &RoleName::targets(), draft.document.signed(), alone)?;
                Ok::<_, RoleError>((name, file))
            })?;
            let files = signed.iter_mut().map(|(name, file)| file.file(name.clone())).collect();
            let pieces: Vec<[&[u8]; 3]> = signed.iter().map(|(_, file)| file.pieces()).collect();
            let (created, described) = beside(
                pieces.iter().map(|&file| length(file)).sum(),
                || metadata.create_all(files),
                || pieces.iter().map(|&file| (length(file), Digest::of_pieces(file))).collect::<Vec<_>>(),
            );
            let created = created?;
            drop(signed);
            for ((draft, (length, sha256)), created) in
                std::mem::take(&mut todo).into_iter().zip(described).zip(created)
            {
                if created == Created::Conflict {
                    todo.push(draft);
                    continue;
                }
                let version = draft.document.version();
                let entry = RoleRef { expires: draft.document.expires(), length: length as u64, sha256, version };
                if draft.role.as_str() == "targets" {
                    kept = Some((entry.clone(), draft.document));
                }
                refs.insert(draft.role, entry);
            }
        }
        let versions: BTreeMap<RoleName, u64> =
            refs.iter().map(|(role, entry)| (role.clone(), entry.version)).collect();
        let highest = versions.values().copied().max().unwrap_or(0);
        let appended = self.log.append(
            refs,
            results,
            now,
            skip_to,
            &|envelope| trust.verify(&RoleName::targets(), envelope).is_ok(),
            &|signed| trust.sign(&RoleName::targets(), signed).map_err(|error| error.to_string()),
        )?;
        let Appended::Committed(record) = appended else { return Ok(None) };
        if let (Layout::Flat, Some(kept)) = (self.layout(), kept) {
            self.flat = Some(kept);
        }
        let reached = self.reached();
        self.floor.raise(|floor| {
            floor.record = reached;
            floor.role_version = highest;
            floor.signed = now.unix();
        })?;
        Ok(Some((record, versions)))
    }

    fn keep(&mut self, role: &RoleName, document: Document) {
        if let (Layout::Flat, Some(entry)) = (self.layout(), self.log.roles().get(role)) {
            self.flat = Some((entry.clone(), document));
        }
    }

    fn base_if_due(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.log.base_due() {
            let trust = &self.trust;
            self.log.write_base(now, &|signed| {
                trust.sign(&RoleName::targets(), signed).map_err(|error| error.to_string())
            })?;
        }
        Ok(())
    }
}

/// Reads a role the log names. The log is signed with the targets keys, so its hash vouches for the bytes.
pub(super) fn read_listed(metadata: &dyn Store, role: &RoleName, entry: &RoleRef) -> Result<Document, RoleError> {
    let name = versioned(role, entry.version)?;
    let alarm = |reason: String| RoleError::Alarm(format!("{name}: {reason}"));
    let bytes = metadata
        .read(&name, MAX_TARGETS)?
        .ok_or_else(|| alarm("the commit log names it but it is not there".into()))?;
    if bytes.len() as u64 != entry.length || Digest::of(&bytes) != entry.sha256 {
        return Err(alarm("its bytes are not those the commit log names".into()));
    }
    let envelope = Envelope::parse(bytes).map_err(|error| alarm(error.to_string()))?;
    Document::parse(DocumentType::Targets, envelope.into_signed()).map_err(|error| alarm(error.to_string()))
}

/// The sha256 in the canonical JSON of a target's entry.
pub(super) fn sha256_of(entry: &[u8]) -> Option<Digest> {
    #[derive(serde::Deserialize)]
    struct Entry {
        hashes: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Entry>(entry).ok()?.hashes.get("sha256")?.parse().ok()
}

/// Holds the log against a floor.
pub(super) fn check_log_floor(log: &Log, floor: Option<RecordFloor>) -> Result<(), RoleError> {
    let Some(floor) = floor else { return Ok(()) };
    if log.position() < floor.number {
        return Err(RoleError::Alarm(format!(
            "the commit log ends at record {}, below the floor {}: it was restored or rolled back",
            log.position(),
            floor.number
        )));
    }
    if log.position() == floor.number && log.head_digest() != Some(floor.digest) {
        return Err(RoleError::Alarm(format!(
            "record {} is not the one signed before: its digest differs",
            floor.number
        )));
    }
    Ok(())
}
