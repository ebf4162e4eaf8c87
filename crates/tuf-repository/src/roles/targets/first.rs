//! Version 1 of a repository that is made.

use std::collections::BTreeMap;

use super::super::RoleError;
use super::draft::Draft;
use super::{Layout, TargetsRole};
use tuf_core::bins::BINS_ROLE;
use tuf_core::canonical::Extra;
use tuf_core::document::{Document, DocumentType};
use tuf_core::names::RoleName;
use tuf_core::schema::{DelegatedPaths, DelegatedRole, Delegations, HashPrefix};
use tuf_core::time::UtcTime;

impl TargetsRole {
    pub(super) fn initialize(&mut self, now: UtcTime) -> Result<(), RoleError> {
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
                    empty(name.to_string(), self.policy.bins.expiry(now), BTreeMap::new())?;
                }
                let bins =
                    (0..layout.count()).map(|index| (layout.name(index).to_string(), layout.prefixes(index))).collect();
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
    pub(super) fn delegate(&self, roles: Vec<(String, Vec<String>)>) -> Result<Vec<u8>, RoleError> {
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
        Ok(Delegations::new(keys, roles).to_canonical())
    }
}
