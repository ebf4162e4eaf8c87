//! The search for every listed target, as clients search (specification §5.6.7).

use std::collections::{BTreeMap, HashSet};

use super::delegation_tree::DelegationTree;
use super::other_clients::MAX_ROLES_VISITED;
use super::progress::AuditStage;
use super::quote::quote;
use super::rules;
use super::running::RunningAudit;
use crate::names::{RoleName, TargetPath};
use crate::schema::TargetMeta;

/// The targets that clients find, by path.
pub(super) type FoundTargets<'t> = BTreeMap<&'t TargetPath, &'t TargetMeta>;

impl RunningAudit<'_> {
    /// Searches for every listed target as a client would, in memory.
    pub(super) fn search<'t>(&mut self, tree: &'t DelegationTree) -> FoundTargets<'t> {
        let mut listers: BTreeMap<&'t TargetPath, Vec<&'t RoleName>> = BTreeMap::new();
        for name in &tree.order {
            let Some(node) = tree.nodes.get(name) else { continue };
            for path in node.role.targets.targets.keys() {
                listers.entry(path).or_default().push(name);
            }
        }
        let total = listers.len() as u64;
        let mut offered = FoundTargets::new();
        for (done, (path, roles)) in listers.into_iter().enumerate() {
            if done % 1024 == 0 {
                self.progress(AuditStage::Search, done as u64, total);
            }
            let visited = tree.visited(path);
            for role in roles.iter().filter(|role| !visited.contains(role)) {
                self.not_found(tree, path, role);
            }
            let mut found: Option<(&RoleName, &TargetMeta)> = None;
            for (index, role) in visited.iter().enumerate() {
                let Some(meta) = tree.nodes.get(*role).and_then(|node| node.role.targets.targets.get(path)) else {
                    continue;
                };
                match found {
                    None => {
                        if index >= MAX_ROLES_VISITED {
                            let message = format!(
                                "target {} is found after {index} delegations; python-tuf and go-tuf give up after {}",
                                quote(path.as_str()),
                                MAX_ROLES_VISITED - 1
                            );
                            self.warn(rules::D8, &tree.nodes[*role].path, message);
                        }
                        offered.insert(path, meta);
                        found = Some((role, meta));
                    }
                    Some((first, known)) if known.hashes != meta.hashes || known.length != meta.length => {
                        let message = format!(
                            "lists another length or hash of target {} than {first}, which clients ask first",
                            quote(path.as_str())
                        );
                        self.note(rules::D4, &tree.nodes[*role].path, message);
                    }
                    Some(_) => {}
                }
            }
        }
        self.report.checked.targets = offered.len() as u64;
        offered
    }

    /// Reports a target that its role lists and the search does not reach.
    fn not_found(&mut self, tree: &DelegationTree, path: &TargetPath, role: &RoleName) {
        let Some(node) = tree.nodes.get(role) else { return };
        self.report.checked.unchecked_targets += 1;
        let shown = quote(path.as_str());
        if tree.trusts(role, path, &mut HashSet::new()) {
            let message = format!(
                "target {shown} is never found: a terminating delegation to another role ends the search first; \
                 reorder the delegations or move the target"
            );
            self.warn(rules::D2, &node.path, message);
        } else {
            let parents: Vec<&str> = node.parents.iter().map(RoleName::as_str).collect();
            let message = format!(
                "{} does not delegate target {shown} to {role}, so no client finds it; move it to the role (or bin) it \
                 belongs to",
                parents.join(", ")
            );
            self.warn(rules::D1, &node.path, message);
        }
    }
}
