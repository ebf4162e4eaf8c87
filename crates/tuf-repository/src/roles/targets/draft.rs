//! From requests to the next versions of the roles they touch.

use std::collections::BTreeMap;

use super::super::parallel::try_map;
use super::super::{MAX_TARGETS, RoleError, versioned};
use super::{Change, Layout, Submission, TargetsRole};
use crate::log::{Outcome, RoleRef};
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::{RoleName, TargetPath};
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;
use tuf_core::time::UtcTime;

/// A role's next version, not written yet.
pub(super) struct Draft {
    pub role: RoleName,
    pub document: Document,
}

impl TargetsRole {
    /// The current documents of roles, checked against the log.
    pub(super) fn load(&mut self, roles: &[RoleName]) -> Result<Vec<(RoleName, Document)>, RoleError> {
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
    pub(super) fn draft(
        &mut self,
        pending: &[&Submission],
        now: UtcTime,
    ) -> Result<(Vec<Draft>, BTreeMap<String, Outcome>), RoleError> {
        let layout = self.layout();
        let role_of = |path: &TargetPath| match layout {
            Layout::Flat => "targets".to_owned(),
            Layout::Bins(bins) => bins.name(bins.index_of(path)).to_string(),
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

    pub(super) fn keep(&mut self, role: &RoleName, document: Document) {
        if let (Layout::Flat, Some(entry)) = (self.layout(), self.log.roles().get(role)) {
            self.flat = Some((entry.clone(), document));
        }
    }
}

/// Reads a role the log names. The log is signed with the targets keys, so its hash vouches for the bytes.
pub(super) fn read_listed(metadata: &dyn Store, role: &RoleName, entry: &RoleRef) -> Result<Document, RoleError> {
    let name = versioned(role, entry.version)?;
    let alarm = |reason: String| RoleError::Alarm(format!("{name}: {reason}"));
    let bytes = metadata
        .read(&name, MAX_TARGETS)?
        .ok_or_else(|| alarm("the commit log names it but it is not there".into()))?;
    if bytes.len() as u64 != entry.length || Sha256::of(&bytes) != entry.sha256 {
        return Err(alarm("its bytes are not those the commit log names".into()));
    }
    let envelope = Envelope::parse(bytes).map_err(|error| alarm(error.to_string()))?;
    Document::parse(DocumentType::Targets, envelope.into_signed()).map_err(|error| alarm(error.to_string()))
}

/// The sha256 in the canonical JSON of a target's entry.
pub(in super::super) fn sha256_of(entry: &[u8]) -> Option<Sha256> {
    #[derive(serde::Deserialize)]
    struct Entry {
        hashes: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Entry>(entry).ok()?.hashes.get("sha256")?.parse().ok()
}
