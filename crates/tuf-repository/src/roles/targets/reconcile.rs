//! The work that is due without a request: first versions, renewals, bases.

use std::collections::{BTreeMap, BTreeSet};

use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

use super::draft::Draft;
use super::role::TargetsRole;
use crate::roles::error::RoleError;

/// The most roles that one record renews, so that a renewal never holds up a release for long.
const ROLES_PER_RENEWAL: usize = 2048;
/// How often a renewal starts again because another writer was first.
const RENEWAL_ATTEMPTS: usize = 64;

impl TargetsRole {
    /// Writes the first versions, the renewals that are due (with `force`: all) and a base. Returns the renewed roles.
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
        for _ in 0..RENEWAL_ATTEMPTS {
            let chunk: Vec<RoleName> = due.iter().take(ROLES_PER_RENEWAL).cloned().collect();
            if chunk.is_empty() {
                break;
            }
            let old = self.load(&chunk)?;
            let drafts = old
                .into_iter()
                .map(|(role, document)| {
                    let expires = self.lifetime(&role).expiry(now);
                    let document = document.edit(&BTreeMap::new(), document.version() + 1, expires);
                    Draft::new(role, document)
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
}
