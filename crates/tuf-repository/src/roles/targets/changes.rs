//! From requests to the next versions of the roles that they change.

use std::collections::BTreeMap;

use tuf_core::names::{RoleName, TargetPath};
use tuf_core::time::UtcTime;

use super::draft::Draft;
use super::entry::sha256_of;
use super::policy::Layout;
use super::request::{Submission, TargetChange};
use super::role::TargetsRole;
use super::sorted_apart::{new_pairs, refused};
use crate::log::RequestOutcome;
use crate::roles::error::RoleError;
use crate::roles::parallel::try_map;

impl TargetsRole {
    /// The next versions of the roles that the submissions change, and the outcome of each submission.
    pub(super) fn draft(
        &mut self,
        pending: &[&Submission],
        now: UtcTime,
    ) -> Result<(Vec<Draft>, BTreeMap<String, RequestOutcome>), RoleError> {
        let layout = self.layout();
        let role_of = |path: &TargetPath| match layout {
            Layout::Flat => RoleName::targets(),
            Layout::Bins(bins) => bins.name(bins.index_of(path)),
        };
        let mut touched: BTreeMap<RoleName, Vec<(usize, &TargetPath, TargetChange)>> = BTreeMap::new();
        for (index, submission) in pending.iter().enumerate() {
            for (path, change) in &submission.changes {
                touched.entry(role_of(path)).or_default().push((index, path, *change));
            }
        }
        let roles: Vec<RoleName> = touched.keys().cloned().collect();
        let mut outcomes = vec![RequestOutcome::default(); pending.len()];
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
                    TargetChange::Put(entry) => {
                        outcomes[index].added += 1;
                        if current.is_some_and(|current| current != entry.to_canonical()) {
                            replaced += 1;
                            tracing::debug!(target.path = %path, request = pending[index].request, "target replaced");
                        }
                        entries.insert(path.to_string(), Some(entry.to_canonical()));
                    }
                    TargetChange::Remove { expected } => match current {
                        None => outcomes[index].not_found += 1,
                        Some(current) => {
                            if let Some(expected) = expected
                                && sha256_of(current) != Some(expected)
                            {
                                return Err(RoleError::PreconditionFailed { path: path.clone(), expected });
                            }
                            outcomes[index].removed += 1;
                            entries.insert(path.to_string(), None);
                        }
                    },
                }
            }
            // An entry that is already signed as requested needs no new version.
            entries.retain(|path, entry| document.get(path) != entry.as_deref());
            edits.push((role, document, entries));
        }
        if replaced > 0 {
            tracing::info!(targets.replaced = replaced, "targets replaced with other content");
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
        let portable_names = self.policy.portable_names;
        let edited = try_map(work, |(role, document, entries, lifetime)| {
            let edited = document.edit(&entries, document.version() + 1, now.plus_seconds(lifetime));
            let pairs = if portable_names { new_pairs(&document, &edited, &entries) } else { Vec::new() };
            let before = (!pairs.is_empty()).then_some((pairs, document));
            Ok::<_, RoleError>((Draft::new(role, edited), before))
        })?;
        if let Some((role, document)) = unchanged {
            self.keep(&role, document);
        }
        let (mut drafts, mut pairs) = (Vec::with_capacity(edited.len()), Vec::new());
        for (draft, before) in edited {
            if let Some((found, document)) = before {
                pairs.extend(found);
                self.keep(&draft.role, document);
            }
            drafts.push(draft);
        }
        if !pairs.is_empty() {
            return Err(RoleError::SortedApart(refused(pending, &pairs)));
        }
        let results = pending.iter().map(|s| s.request.clone()).zip(outcomes).collect();
        Ok((drafts, results))
    }
}
