//! Version 1 of every role of a new repository.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::policy::Layout;
use super::role::TargetsRole;
use crate::roles::error::RoleError;
use crate::roles::foreign;
use tuf_core::bins::BINS_ROLE;
use tuf_core::canonical::Extra;
use tuf_core::document::{Document, DocumentType};
use tuf_core::names::RoleName;
use tuf_core::schema::{DelegatedPaths, DelegatedRole, Delegations, HashPrefix};
use tuf_core::time::UtcTime;

impl TargetsRole {
    /// Writes version 1 of every role and the first record, in a repository that has nothing but roots.
    ///
    /// # Errors
    /// [`RoleError::ForeignMetadata`] where there is more. [`RoleError`].
    pub(super) fn initialize(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.floor.get().is_some_and(|floor| floor.record.is_some()) {
            return Err(RoleError::LogEmpty);
        }
        if let Some(file) = foreign::find(self.repository.metadata.as_ref(), None)? {
            // Another process may have made the first record, and others may have gone on from it.
            self.refresh(now)?;
            if self.log.head() > 0 {
                return Ok(());
            }
            return Err(RoleError::ForeignMetadata { file });
        }
        let expires = self.policy.targets.expiry(now);
        let mut drafts = Vec::new();
        let mut empty = |role: RoleName, expires: UtcTime, extra: BTreeMap<String, Vec<u8>>| {
            drafts.push(Draft::new(role, Document::empty(DocumentType::Targets, 1, expires, extra)));
        };
        let delegating =
            |roles| Ok::<_, RoleError>(BTreeMap::from([("delegations".to_owned(), self.delegate(roles)?)]));
        match self.policy.layout {
            Layout::Flat => empty(RoleName::targets(), expires, BTreeMap::new()),
            Layout::Bins(layout) => {
                for bin in layout.names() {
                    empty(bin, self.policy.bins.expiry(now), BTreeMap::new());
                }
                let above = RoleName::new(BINS_ROLE)?;
                let bins = (0..layout.count()).map(|index| (layout.name(index), layout.prefixes(index))).collect();
                empty(above.clone(), expires, delegating(bins)?);
                // Every path: the sixteen one-digit prefixes, which all clients match alike (`*` stops at a slash).
                let all = (0..16).map(|digit| format!("{digit:x}")).collect();
                empty(RoleName::targets(), expires, delegating(vec![(above, all)])?);
            }
        }
        // A lost race has the same result: the winner's version 1 is the same.
        if self.publish(drafts, BTreeMap::new(), now, None)?.is_none() {
            self.refresh(now)?;
        }
        Ok(())
    }

    /// `delegations` to roles signed with the targets keys, as canonical JSON.
    pub(super) fn delegate(&self, roles: Vec<(RoleName, Vec<String>)>) -> Result<Vec<u8>, RoleError> {
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
                    name,
                    keyids: own.keyids.clone(),
                    threshold: own.threshold,
                    terminating: false,
                    paths: DelegatedPaths::HashPrefixes(
                        prefixes.into_iter().map(hash_prefix).collect::<Result<_, _>>()?,
                    ),
                    extra: Extra::new(),
                })
            })
            .collect::<Result<_, RoleError>>()?;
        Ok(Delegations::new(keys, roles).to_canonical())
    }
}

fn hash_prefix(prefix: String) -> Result<HashPrefix, RoleError> {
    HashPrefix::new(&prefix).map_err(|source| RoleError::HashPrefix { prefix, source })
}
