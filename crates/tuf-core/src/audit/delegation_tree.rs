//! All targets roles and their delegations, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::client::LoadedRole;
use crate::key::PublicKey;
use crate::names::{KeyId, RoleName, TargetPath};
use crate::schema::RoleKeys;

/// A targets role that could be read.
pub(super) struct TreeRole {
    /// Its file.
    pub(super) path: String,
    pub(super) role: LoadedRole,
    /// Roles that delegate to it; empty for the top-level role.
    pub(super) parents: Vec<RoleName>,
}

/// All targets roles that are delegated to and could be read.
#[derive(Default)]
pub(super) struct DelegationTree {
    pub(super) nodes: HashMap<RoleName, TreeRole>,
    /// In the order in which they were read.
    pub(super) order: Vec<RoleName>,
    /// All names delegated to, whether or not their files could be read.
    pub(super) delegated: HashSet<RoleName>,
}

impl DelegationTree {
    /// Keys and threshold that `parent` gives to `name`, and the keys that `parent` defines.
    pub(super) fn keys_of(
        &self,
        parent: &RoleName,
        name: &RoleName,
    ) -> Option<(RoleKeys, &BTreeMap<KeyId, PublicKey>)> {
        let parent = &self.nodes.get(parent)?.role;
        Some((parent.keys_for(name)?, &parent.targets.delegations.as_ref()?.keys))
    }

    /// Roles in the order in which the search for `path` visits them, if none lists it.
    pub(super) fn visited(&self, path: &TargetPath) -> Vec<&RoleName> {
        let mut visited: Vec<&RoleName> = Vec::new();
        let mut seen: HashSet<&RoleName> = HashSet::new();
        let mut to_visit: Vec<RoleName> = vec![RoleName::targets()];
        while let Some(name) = to_visit.pop() {
            let Some((name, node)) = self.nodes.get_key_value(&name) else { continue };
            if !seen.insert(name) {
                continue;
            }
            visited.push(name);
            let mut children = Vec::new();
            for child in node.role.children(path) {
                children.push(child.name);
                if child.terminating {
                    to_visit.clear();
                    break;
                }
            }
            to_visit.extend(children.into_iter().rev());
        }
        visited
    }

    /// Whether a chain of delegations gives `path` to `role`.
    pub(super) fn trusts<'t>(
        &'t self,
        role: &'t RoleName,
        path: &TargetPath,
        seen: &mut HashSet<&'t RoleName>,
    ) -> bool {
        if *role == RoleName::targets() {
            return true;
        }
        // Delegations may form a circle.
        if !seen.insert(role) {
            return false;
        }
        let Some(node) = self.nodes.get(role) else { return false };
        node.parents.iter().any(|parent| {
            let covered = self
                .nodes
                .get(parent)
                .is_some_and(|parent| parent.role.children(path).iter().any(|child| child.name == *role));
            covered && self.trusts(parent, path, seen)
        })
    }
}
