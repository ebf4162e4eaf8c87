//! The target files that role versions in use list.

use std::collections::BTreeMap;

use tuf_core::bins::{BINS_ROLE, BinLayout, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::{RoleName, TargetPath};
use tuf_core::store::Store;

use crate::retention::{CandidateFile, SweepProgress, versioned_role};
use crate::roles::error::RoleError;
use crate::roles::limits::MAX_TARGETS;
use crate::roles::snapshot_entry::{listed_version, version_of};
use crate::roles::targets::{Layout, sha256_of};
use crate::roles::versioned::versioned;

/// The most metadata that one call reads, in bytes. Files that need more are left for the next call.
const MAX_METADATA_READ_BYTES: u64 = 2 * MAX_TARGETS;

/// The versions of the roles that list targets, from the horizon on.
pub(super) struct LiveVersions<'a> {
    metadata: &'a dyn Store,
    layout: Layout,
    /// Every version on disk at or above the horizon, listed or not: it may belong to a commit under way.
    versions: BTreeMap<RoleName, Vec<u64>>,
    /// The current version of each.
    newest: BTreeMap<RoleName, u64>,
    /// The document read last.
    last: Option<(RoleName, u64, Document)>,
    /// A version of `targets` that the caller has in memory.
    known: Option<(u64, &'a Document)>,
    budget: u64,
}

/// Whether a version in use lists a candidate.
#[derive(Clone, PartialEq)]
enum CandidateStatus {
    Unlisted,
    /// By this version of the role.
    Listed(RoleName, u64),
    /// Not every version could be read.
    Unknown,
}

impl<'a> LiveVersions<'a> {
    /// `names` are the names in `metadata/`, `horizon` is the oldest snapshot in use, `newest` holds the current version of
    /// each role. `None` when this project does not know the layout of the roles, or when the layout at the horizon was
    /// another one: it is then unknown which role may list a target.
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
            // Without these two versions the listing or the repository is incomplete.
            let exists = |version: Option<&u64>| version.is_some_and(|version| versions.binary_search(version).is_ok());
            if !exists(newest.get(role)) || version_of(horizon, role).is_none_or(|version| !exists(Some(&version))) {
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
            budget: MAX_METADATA_READ_BYTES,
        })
    }

    /// The candidates that no version in use lists. `is_old` is called only for candidates that the newest version does not
    /// list.
    pub(super) fn unlisted(
        &mut self,
        candidates: Vec<CandidateFile>,
        sweep: &mut SweepProgress,
        mut is_old: impl FnMut(&CandidateFile) -> Result<bool, RoleError>,
    ) -> Result<Vec<CandidateFile>, RoleError> {
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
        candidates: Vec<CandidateFile>,
        newest_only: bool,
        mut listed: impl FnMut(&CandidateFile, (RoleName, u64)),
    ) -> Result<Vec<CandidateFile>, RoleError> {
        let mut by_role: BTreeMap<RoleName, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            for (target, (path, _)) in candidate.targets.iter().enumerate() {
                for role in self.roles_of(path) {
                    by_role.entry(role).or_default().push((index, target));
                }
            }
        }
        let mut statuses = vec![CandidateStatus::Unlisted; candidates.len()];
        for (role, mut items) in by_role {
            let mut versions = self.versions.get(&role).cloned().unwrap_or_default();
            if newest_only {
                versions.retain(|version| self.newest.get(&role) == Some(version));
            }
            for version in versions.into_iter().rev() {
                items.retain(|(index, _)| statuses[*index] == CandidateStatus::Unlisted);
                if items.is_empty() {
                    break;
                }
                let current = self.newest.get(&role) == Some(&version);
                let document = match self.document(&role, version)? {
                    VersionRead::Document(document) => document,
                    // Bytes that were never signed list no target. The current version is signed, so its file is damaged.
                    VersionRead::Garbage if !current => continue,
                    VersionRead::Garbage | VersionRead::NotNow => {
                        for (index, _) in &items {
                            statuses[*index] = CandidateStatus::Unknown;
                        }
                        break;
                    }
                };
                for (index, target) in &items {
                    let (path, hash) = &candidates[*index].targets[*target];
                    let entry = document.get(path.as_str());
                    if entry.is_some_and(|entry| hash.is_none() || sha256_of(entry) == *hash) {
                        statuses[*index] = CandidateStatus::Listed(role.clone(), version);
                    }
                }
            }
        }
        let mut rest = Vec::new();
        for (candidate, status) in candidates.into_iter().zip(statuses) {
            match status {
                CandidateStatus::Unlisted => rest.push(candidate),
                CandidateStatus::Listed(role, version) => listed(&candidate, (role, version)),
                CandidateStatus::Unknown => {}
            }
        }
        Ok(rest)
    }

    /// The roles that may list a target.
    fn roles_of(&self, path: &TargetPath) -> Vec<RoleName> {
        let mut roles = vec![RoleName::targets()];
        if let Layout::Bins(bins) = self.layout {
            roles.push(bins.name(bins.index_of(path)));
        }
        roles
    }

    /// One version of a role. Its signatures are not checked: unsigned bytes can only keep files longer.
    fn document(&mut self, role: &RoleName, version: u64) -> Result<VersionRead<'_>, RoleError> {
        if let Some((known, document)) = self.known
            && known == version
            && *role == RoleName::targets()
        {
            return Ok(VersionRead::Document(document));
        }
        let same = self.last.as_ref().is_some_and(|(known, at, _)| known == role && *at == version);
        if !same {
            let name = versioned(role, version)?;
            let length = self.metadata.stat(&name)?.map_or(0, |stat| stat.len);
            if length > MAX_TARGETS {
                return Ok(VersionRead::Garbage);
            }
            if length > self.budget {
                return Ok(VersionRead::NotNow);
            }
            self.budget -= length;
            let Some(bytes) = self.metadata.read(&name, MAX_TARGETS)? else { return Ok(VersionRead::NotNow) };
            let parsed = Envelope::parse(bytes)
                .ok()
                .and_then(|envelope| Document::parse(DocumentType::Targets, envelope.into_signed()).ok())
                .filter(|document| document.version() == version);
            let Some(document) = parsed else { return Ok(VersionRead::Garbage) };
            self.last = Some((role.clone(), version, document));
        }
        Ok(self.last.as_ref().map_or(VersionRead::NotNow, |(_, _, document)| VersionRead::Document(document)))
    }
}

/// The file of one version of a role.
enum VersionRead<'a> {
    Document(&'a Document),
    /// The file is not targets metadata of that version.
    Garbage,
    /// The file is gone, or too long for the rest of this call.
    NotNow,
}

/// The layout that has exactly these roles.
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
