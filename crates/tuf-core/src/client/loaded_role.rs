//! A verified targets role, with an index of its delegations.

use std::collections::HashMap;

use crate::names::{RoleName, TargetPath};
use crate::schema::{DelegatedPaths, RoleKeys, Targets, path_hash};

/// A verified targets role. The index finds the delegations that cover a path without a walk over 16,384 of them.
#[derive(Debug)]
pub(crate) struct LoadedRole {
    pub(crate) targets: Targets,
    by_name: HashMap<RoleName, usize>,
    by_prefix: HashMap<String, Vec<usize>>,
    prefix_lengths: Vec<usize>,
    by_pattern: Vec<usize>,
}

/// A role to visit next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildRole {
    pub(crate) name: RoleName,
    pub(crate) terminating: bool,
}

impl LoadedRole {
    pub(crate) fn new(targets: Targets) -> Self {
        let mut loaded = Self {
            by_name: HashMap::new(),
            by_prefix: HashMap::new(),
            prefix_lengths: Vec::new(),
            by_pattern: Vec::new(),
            targets,
        };
        let roles = loaded.targets.delegations.as_ref().map_or(&[][..], |delegations| &delegations.roles);
        for (index, role) in roles.iter().enumerate() {
            loaded.by_name.insert(role.name.clone(), index);
            match &role.paths {
                DelegatedPaths::Patterns(_) => loaded.by_pattern.push(index),
                DelegatedPaths::HashPrefixes(prefixes) => {
                    for prefix in prefixes {
                        let prefix = prefix.as_str();
                        loaded.by_prefix.entry(prefix.to_owned()).or_default().push(index);
                        if !loaded.prefix_lengths.contains(&prefix.len()) {
                            loaded.prefix_lengths.push(prefix.len());
                        }
                    }
                }
            }
        }
        loaded
    }

    /// The delegations that cover `path`, in order of precedence.
    pub(crate) fn children(&self, path: &TargetPath) -> Vec<ChildRole> {
        let Some(delegations) = &self.targets.delegations else {
            return Vec::new();
        };
        if let Some(succinct) = &delegations.succinct_roles {
            return vec![ChildRole { name: succinct.bin_for(path), terminating: true }];
        }
        let hash = if self.prefix_lengths.is_empty() { String::new() } else { path_hash(path) };
        let mut found: Vec<usize> =
            self.by_pattern.iter().copied().filter(|&index| delegations.roles[index].covers(path, &hash)).collect();
        for &length in &self.prefix_lengths {
            found.extend(hash.get(..length).and_then(|prefix| self.by_prefix.get(prefix)).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        let child = |index: usize| {
            let role = &delegations.roles[index];
            ChildRole { name: role.name.clone(), terminating: role.terminating }
        };
        found.into_iter().map(child).collect()
    }

    /// Every role delegated to, as long as there are at most `max`.
    pub(crate) fn all_children(&self, max: usize) -> Option<Vec<RoleName>> {
        let Some(delegations) = &self.targets.delegations else {
            return Some(Vec::new());
        };
        if let Some(succinct) = &delegations.succinct_roles {
            return (succinct.bins() <= max as u64).then(|| (0..succinct.bins()).map(|n| succinct.bin(n)).collect());
        }
        let names = || delegations.roles.iter().map(|role| role.name.clone()).collect();
        (delegations.roles.len() <= max).then(names)
    }

    /// Keys and threshold of a role delegated to.
    pub(crate) fn keys_for(&self, name: &RoleName) -> Option<RoleKeys> {
        let delegations = self.targets.delegations.as_ref()?;
        if delegations.succinct_roles.is_some() {
            return delegations.keys_for(name);
        }
        self.by_name.get(name).map(|&index| delegations.roles[index].role_keys())
    }
}
