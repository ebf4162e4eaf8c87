//! Finding targets (specification §5.6.7).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::error::ClientError;
use super::fetch::Fetch;
use super::targets_role::DelegatingRole;
use super::verifying::Client;
use crate::names::{RoleName, TargetPath};
use crate::schema::TargetMeta;
use crate::time::UtcTime;

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// The entry of a target: that of the first role in pre-order that lists it, among the roles it is delegated to.
    /// `None` if no role lists it.
    ///
    /// # Errors
    /// [`ClientError`] if a role on the way cannot be fetched or trusted, or too many are visited.
    pub fn find_target(&mut self, path: &TargetPath) -> Result<Option<TargetMeta>, ClientError> {
        let now = self.refreshed.ok_or(ClientError::NotRefreshed)?;
        self.search(path, now, self.limits.delegations)
    }

    fn search(&mut self, path: &TargetPath, now: UtcTime, max: usize) -> Result<Option<TargetMeta>, ClientError> {
        let mut visited = HashSet::new();
        let mut to_visit: Vec<(Option<DelegatingRole>, RoleName)> = vec![(None, RoleName::targets())];
        while let Some((parent, name)) = to_visit.pop() {
            if visited.contains(&name) {
                continue;
            }
            if visited.len() == max {
                return Err(ClientError::TooManyRoles { max });
            }
            let role = self.load(parent.as_ref(), &name, now)?;
            if let Some(meta) = role.targets.targets.get(path) {
                return Ok(Some(meta.clone()));
            }
            let mut children = Vec::new();
            for child in role.children(path) {
                let parent = DelegatingRole { name: name.clone(), role: Arc::clone(&role) };
                children.push((Some(parent), child.name));
                if child.terminating {
                    // Neither its later siblings nor roles left from before are searched.
                    to_visit.clear();
                    break;
                }
            }
            to_visit.extend(children.into_iter().rev());
            visited.insert(name);
        }
        Ok(None)
    }

    /// All targets of the repository: exactly those that [`Client::find_target`] finds. Reads every delegated role.
    ///
    /// # Errors
    /// [`ClientError`] if a role cannot be fetched or trusted, or too many are visited.
    pub fn all_targets(&mut self) -> Result<BTreeMap<TargetPath, TargetMeta>, ClientError> {
        let now = self.refreshed.ok_or(ClientError::NotRefreshed)?;
        let max = self.limits.all_roles;
        let mut visited = HashSet::new();
        let mut paths = BTreeSet::new();
        let mut to_visit: Vec<(Option<DelegatingRole>, RoleName)> = vec![(None, RoleName::targets())];
        while let Some((parent, name)) = to_visit.pop() {
            if !visited.insert((parent.as_ref().map(|parent| parent.name.clone()), name.clone())) {
                continue;
            }
            if visited.len() > max {
                return Err(ClientError::TooManyRoles { max });
            }
            let role = self.load(parent.as_ref(), &name, now)?;
            paths.extend(role.targets.targets.keys().cloned());
            let children = role.all_children(max).ok_or(ClientError::TooManyRoles { max })?;
            let parent = DelegatingRole { name, role };
            to_visit.extend(children.into_iter().map(|child| (Some(parent.clone()), child)));
        }
        // A role may list targets that are not delegated to it, so the search decides.
        let mut targets = BTreeMap::new();
        for path in paths {
            if let Some(meta) = self.search(&path, now, self.limits.delegations)? {
                targets.insert(path, meta);
            }
        }
        Ok(targets)
    }
}
