//! Which target files the kept versions of roles list.

use std::collections::BTreeMap;

use super::super::snapshot::{listed_version, version_of};
use super::super::targets::sha256_of;
use super::super::{Layout, MAX_TARGETS, RoleError, versioned};
use crate::retention::{Candidate, Sweep, versioned_role};
use tuf_core::bins::{BINS_ROLE, BinLayout, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::{RoleName, TargetPath};
use tuf_core::store::Store;

/// Metadata read by one call at most, in bytes. What needs more to be decided about is left for the next call.
const MAX_READ: u64 = 2 * MAX_TARGETS;

/// The versions of the roles that list targets, from the horizon on.
pub(super) struct Kept<'a> {
    metadata: &'a dyn Store,
    layout: Layout,
    /// Every version on disk that is not below the horizon, listed or not: a commit under way may be one of them.
    versions: BTreeMap<RoleName, Vec<u64>>,
    /// The current version of each.
    newest: BTreeMap<RoleName, u64>,
    /// The document read last, and one the caller has anyway.
    last: Option<(RoleName, u64, Document)>,
    known: Option<(u64, &'a Document)>,
    budget: u64,
}

/// What is known of a candidate.
#[derive(Clone, PartialEq)]
enum Verdict {
    Unlisted,
    Listed(RoleName, u64),
    /// It could not be looked up everywhere.
    Unknown,
}

impl<'a> Kept<'a> {
    /// `names` are those in `metadata/`, `horizon` is the oldest snapshot in use, `newest` the version per role that
    /// is current. `None` when the roles are not laid out as this project lays them out, or were laid out otherwise at
    /// the horizon: then it is not known which role may list a target.
    pub(super) fn new(
        metadata: &'a dyn Store,
        names: &[String],
        horizon: &Document,
        newest: &BTreeMap<RoleName, u64>,
        known: Option<(u64, &'a Document)>,
    ) -> Option<Self> {
        let mut first = BTreeMap::new();
        for (key, entry) in horizon.iter() {
            let role = RoleName::new(std::str::from_utf8(&key).ok()?.strip_suffix(".json")?).ok()?;
            first.insert(role, listed_version(entry)?);
        }
        if !first.keys().eq(newest.keys()) {
            return None;
        }
        let layout = layout_of(newest)?;
        let mut versions: BTreeMap<RoleName, Vec<u64>> = BTreeMap::new();
        for name in names {
            let Some((version, role)) = versioned_role(name) else { continue };
            if first.get(&role).is_some_and(|first| version >= *first) {
                versions.entry(role).or_default().push(version);
            }
        }
        for (role, versions) in &mut versions {
            versions.sort_unstable();
            // Without these two the listing is not whole, or the repository is not.
            let there = |version: Option<&u64>| version.is_some_and(|version| versions.binary_search(version).is_ok());
            if !there(newest.get(role)) || version_of(horizon, role).is_none_or(|version| !there(Some(&version))) {
                return None;
            }
        }
        (versions.len() == newest.len()).then_some(Self {
            metadata,
            layout,
            versions,
            newest: newest.clone(),
            last: None,
            known,
            budget: MAX_READ,
        })
    }

    /// Those of `candidates` that no kept version lists. `is_old` is asked only about those that the newest does not.
    pub(super) fn unlisted(
        &mut self,
        candidates: Vec<Candidate>,
        sweep: &mut Sweep,
        mut is_old: impl FnMut(&Candidate) -> Result<bool, RoleError>,
    ) -> Result<Vec<Candidate>, RoleError> {
        let candidates = self.filter(candidates, true, |_, _| {})?;
        let mut old = Vec::new();
        for candidate in candidates {
            let listed = candidate.names.last().and_then(|name| sweep.listed_by.get(name));
            let known =
                listed.is_some_and(|(role, version)| self.versions.get(role).is_some_and(|all| all.contains(version)));
            if !known && is_old(&candidate)? {
                old.push(candidate);
            }
        }
        let memory = &mut sweep.listed_by;
        self.filter(old, false, |candidate, by| {
            if memory.len() >= 100_000 {
                memory.clear();
            }
            if let Some(name) = candidate.names.last() {
                memory.insert(name.clone(), by);
            }
        })
    }

    fn filter(
        &mut self,
        candidates: Vec<Candidate>,
        newest_only: bool,
        mut listed: impl FnMut(&Candidate, (RoleName, u64)),
    ) -> Result<Vec<Candidate>, RoleError> {
        let mut by_role: BTreeMap<RoleName, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            for (target, (path, _)) in candidate.targets.iter().enumerate() {
                for role in self.roles_of(path)? {
                    by_role.entry(role).or_default().push((index, target));
                }
            }
        }
        let mut verdicts = vec![Verdict::Unlisted; candidates.len()];
        for (role, mut items) in by_role {
            let mut versions = self.versions.get(&role).cloned().unwrap_or_default();
            if newest_only {
                versions.retain(|version| self.newest.get(&role) == Some(version));
            }
            for version in versions.into_iter().rev() {
                items.retain(|(index, _)| verdicts[*index] == Verdict::Unlisted);
                if items.is_empty() {
                    break;
                }
                let current = self.newest.get(&role) == Some(&version);
                let document = match self.document(&role, version)? {
                    Found::Document(document) => document,
                    // Nothing that was ever signed: it lists nothing. The current version is signed, so it is damaged.
                    Found::Garbage if !current => continue,
                    Found::Garbage | Found::NotNow => {
                        for (index, _) in &items {
                            verdicts[*index] = Verdict::Unknown;
                        }
                        break;
                    }
                };
                for (index, target) in &items {
                    let (path, hash) = &candidates[*index].targets[*target];
                    let entry = document.get(path.as_str());
                    if entry.is_some_and(|entry| hash.is_none() || sha256_of(entry) == *hash) {
                        verdicts[*index] = Verdict::Listed(role.clone(), version);
                    }
                }
            }
        }
        let mut rest = Vec::new();
        for (candidate, verdict) in candidates.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Unlisted => rest.push(candidate),
                Verdict::Listed(role, version) => listed(&candidate, (role, version)),
                Verdict::Unknown => {}
            }
        }
        Ok(rest)
    }

    /// The roles that may list a target.
    fn roles_of(&self, path: &TargetPath) -> Result<Vec<RoleName>, RoleError> {
        let mut roles = vec![RoleName::targets()];
        if let Layout::Bins(bins) = self.layout {
            roles.push(bins.name(bins.index_of(path)));
        }
        Ok(roles)
    }

    /// One version of a role. Bytes that were never signed can only keep files that nobody needs.
    fn document(&mut self, role: &RoleName, version: u64) -> Result<Found<'_>, RoleError> {
        if let Some((known, document)) = self.known
            && known == version
            && *role == RoleName::targets()
        {
            return Ok(Found::Document(document));
        }
        let same = self.last.as_ref().is_some_and(|(known, at, _)| known == role && *at == version);
        if !same {
            let name = versioned(role, version)?;
            let length = self.metadata.stat(&name)?.map_or(0, |stat| stat.len);
            if length > MAX_TARGETS {
                return Ok(Found::Garbage);
            }
            if length > self.budget {
                return Ok(Found::NotNow);
            }
            self.budget -= length;
            let Some(bytes) = self.metadata.read(&name, MAX_TARGETS)? else { return Ok(Found::NotNow) };
            let parsed = Envelope::parse(bytes)
                .ok()
                .and_then(|envelope| Document::parse(DocumentType::Targets, envelope.into_signed()).ok())
                .filter(|document| document.version() == version);
            let Some(document) = parsed else { return Ok(Found::Garbage) };
            self.last = Some((role.clone(), version, document));
        }
        Ok(self.last.as_ref().map_or(Found::NotNow, |(_, _, document)| Found::Document(document)))
    }
}

/// One version of a role.
enum Found<'a> {
    Document(&'a Document),
    /// It is no targets metadata of that version.
    Garbage,
    /// It is gone, or would be more than is read by one call.
    NotNow,
}

/// The layout of exactly these roles.
fn layout_of(roles: &BTreeMap<RoleName, u64>) -> Option<Layout> {
    let has = |name: &str| roles.keys().any(|role| role.as_str() == name);
    if roles.len() == 1 && has("targets") {
        return Some(Layout::Flat);
    }
    let layout = BinLayout::of_roles(roles.keys())?;
    let bins = roles.keys().filter(|role| is_bin(role));
    let mut expected: Vec<RoleName> = layout.names().collect();
    expected.sort_unstable();
    let whole =
        has("targets") && has(BINS_ROLE) && roles.len() == layout.count() as usize + 2 && bins.eq(expected.iter());
    whole.then_some(Layout::Bins(layout))
}
