//! Targets roles and their delegations (specification §4.5).

use std::collections::VecDeque;

use super::delegation_tree::{DelegationTree, TreeRole};
use super::odd_name::percent_encoded;
use super::progress::AuditStage;
use super::quote::{example as sentence, quote};
use super::rules;
use super::running::{MetadataFile, RunningAudit};
use crate::canonical::Extra;
use crate::client::{ClientLimits, LoadedRole};
use crate::envelope::Envelope;
use crate::names::{RoleName, TargetPath, TopRole, sorted_apart};
use crate::schema::{DelegatedPaths, RoleKeys, Root, Snapshot, Targets};
use crate::verify;

impl RunningAudit<'_> {
    /// Reads the top-level targets role and everything it delegates to.
    pub(super) fn targets_roles(&mut self, root: &Root, snapshot: &Snapshot, snapshot_path: &str) -> DelegationTree {
        let mut tree = DelegationTree::default();
        let mut queue: VecDeque<(Option<RoleName>, RoleName)> = VecDeque::from([(None, RoleName::targets())]);
        tree.delegated.insert(RoleName::targets());
        let total = snapshot.meta.len() as u64;
        while let Some((parent, name)) = queue.pop_front() {
            self.progress(AuditStage::Roles, tree.order.len() as u64, total);
            if let Some(parent) = &parent
                && tree.nodes.contains_key(&name)
            {
                self.another_parent(&mut tree, parent, &name);
                continue;
            }
            let Some(listed) = snapshot.meta.get(&name) else {
                match &parent {
                    None => self.error(rules::N1, snapshot_path, "does not list targets.json: no target can be found"),
                    Some(parent) => {
                        let message = format!(
                            "does not list {}, but {parent} delegates to it: clients that reach this delegation fail; \
                             sign the role and list it",
                            quote(&format!("{name}.json"))
                        );
                        self.error(rules::N2, snapshot_path, message);
                    }
                }
                continue;
            };
            let (limit, max) = (ClientLimits::default().targets_bytes, self.options.ceilings.targets_bytes);
            let consistent = root.consistent_snapshot;
            let read = self.listed::<Targets>(&name, listed, snapshot_path, consistent, limit, max);
            let Some((path, doc)) = read else { continue };
            match &parent {
                None => {
                    self.report.versions.insert(TopRole::Targets, doc.metadata.version);
                    if let Some(keys) = root.roles.get(&name) {
                        self.check_signatures(rules::S3, &path, "the targets keys of root", &doc, &root.keys, keys);
                    }
                }
                Some(parent) => {
                    if let Some((keys, defined)) = tree.keys_of(parent, &name) {
                        let whose = format!("the keys that {parent} gives it");
                        self.check_signatures(rules::S3, &path, &whose, &doc, defined, &keys);
                    }
                }
            }
            self.report.checked.targets_roles += 1;
            self.concerns.spec_version(&path, &doc.metadata.spec_version);
            self.check_targets(&path, &doc.metadata);
            let role = LoadedRole::new(doc.metadata);
            for child in self.children(&path, &role) {
                tree.delegated.insert(child.clone());
                queue.push_back((Some(name.clone()), child));
            }
            tree.order.push(name.clone());
            tree.nodes.insert(name, TreeRole { path, role, parents: parent.into_iter().collect() });
        }
        tree
    }

    /// Checks a role read before against the keys that another role gives it.
    fn another_parent(&mut self, tree: &mut DelegationTree, parent: &RoleName, name: &RoleName) {
        let Some(path) = tree.nodes.get(name).map(|node| node.path.clone()) else { return };
        if let MetadataFile::Read(file) = self.get(&path, self.options.ceilings.targets_bytes)
            && let Ok(envelope) = Envelope::parse(file)
            && let Some((keys, defined)) = tree.keys_of(parent, name)
            && let Err(error) = verify::envelope(&envelope, defined, &keys)
            && !self.undecided(
                &path,
                &format!("the keys that {parent} gives it"),
                envelope.signatures(),
                defined,
                &keys,
                &error,
            )
        {
            let message =
                format!("signatures by the keys that {parent} gives it: {error}; sign it with those keys too");
            self.error(rules::S3, &path, message);
        }
        if let Some(node) = tree.nodes.get_mut(name) {
            node.parents.push(parent.clone());
        }
    }

    /// Checks the delegations of a role and returns the names it delegates to.
    fn children(&mut self, path: &str, role: &LoadedRole) -> Vec<RoleName> {
        let Some(delegations) = &role.targets.delegations else {
            return Vec::new();
        };
        self.check_keys(path, &delegations.keys);
        let first = |extra: &Extra| extra.iter().next().map(|(name, _)| name.to_owned());
        let more = delegations.roles.iter().find_map(|child| first(&child.extra)).or_else(|| first(&delegations.extra));
        if let Some(more) = more {
            let message = format!(
                "the delegations have a member {}, which is not in the specification: tough and php-tuf drop it and \
                 then refuse the signatures",
                quote(&more)
            );
            self.warn(rules::D10, path, message);
        }
        match &delegations.succinct_roles {
            Some(succinct) => {
                let message = "delegates to succinct roles: python-tuf, tuf-js and go-tuf read them; tough, rust-tuf and \
                               php-tuf do not";
                self.warn(rules::D11, path, message);
                let keys = RoleKeys::new(succinct.keyids.clone(), succinct.threshold);
                self.check_role_keys(path, "the succinct delegation", &delegations.keys, &keys);
                self.unused_keys(path, &delegations.keys, std::iter::once(succinct.keyids.as_slice()));
            }
            None => {
                for child in &delegations.roles {
                    let whose = format!("delegated role {}", child.name);
                    self.check_role_keys(path, &whose, &delegations.keys, &child.role_keys());
                }
                if delegations.roles.iter().any(|child| matches!(child.paths, DelegatedPaths::HashPrefixes(_))) {
                    self.concerns.hash_prefixes(path);
                }
                let used = delegations.roles.iter().map(|child| child.keyids.as_slice());
                self.unused_keys(path, &delegations.keys, used);
            }
        }
        let Some(children) = role.all_children(self.options.ceilings.roles) else {
            let reason = format!("it delegates to more than {} roles; they were not read", self.options.ceilings.roles);
            self.unread(path, reason);
            return Vec::new();
        };
        self.check_role_names(path, &children);
        children
    }

    fn check_role_names(&mut self, path: &str, names: &[RoleName]) {
        let odd =
            |name: &str| name.starts_with(|c: char| c.is_ascii_digit() || c == '.') || percent_encoded(name) != name;
        let written = |name: &RoleName| self.odd_names.get(name).map_or(name.as_str(), String::as_str).to_owned();
        let odd: Vec<String> = names.iter().map(written).filter(|name| odd(name)).collect();
        if let Some(example) = odd.first() {
            let message = format!(
                "{}: php-tuf and tuf-js cannot handle such a name, and other clients find the file only if the server decodes \
                 it; use letters, digits, `_` and `-`, and begin with a letter",
                sentence(
                    odd.len() as u64,
                    "role name",
                    &quote(example),
                    (
                        "begins with a digit or a dot, or is percent-encoded in a URL",
                        "begin with a digit or a dot, or are percent-encoded in a URL"
                    )
                )
            );
            self.warn(rules::D9, path, message);
        }
    }

    /// Checks the targets that a role lists.
    fn check_targets(&mut self, path: &str, targets: &Targets) {
        let (mut foreign, mut empty, mut custom) = (Vec::new(), Vec::new(), Vec::new());
        let mut unportable = Vec::new();
        for (target, meta) in &targets.targets {
            if !target.as_str().is_ascii() {
                foreign.push(target);
            }
            if let Err(obstacle) = target.check_portable(false) {
                unportable.push((target, obstacle));
            }
            if meta.length == 0 {
                empty.push(target);
            }
            if meta.custom.as_ref().is_some_and(|custom| custom.as_canonical() == "{}") {
                custom.push(target);
            }
            if meta.hashes.sha256().is_none() {
                let message = format!("target {} has no sha256: tough refuses the whole file", quote(target.as_str()));
                self.warn(rules::P3, path, message);
            }
        }
        if let Some(example) = foreign.first() {
            let message = format!(
                "{} not ASCII: php-tuf computes different canonical bytes and refuses the role",
                sentence(foreign.len() as u64, "target path", &quote(example.as_str()), ("is", "are"))
            );
            self.warn(rules::P2, path, message);
        }
        if let Some((example, obstacle)) = unportable.first() {
            let message = format!(
                "{} cannot be fetched or verified by every client: {obstacle}",
                sentence(unportable.len() as u64, "target path", &quote(example.as_str()), ("", "")).trim_end()
            );
            self.warn(rules::P10, path, message);
        }
        let sorted: Vec<&str> = targets.targets.keys().map(TargetPath::as_str).collect();
        let apart: Vec<&[&str]> = sorted.windows(2).filter(|pair| sorted_apart(pair[0], pair[1])).collect();
        if let Some([shorter, longer]) = apart.first() {
            let message = format!(
                "tough sorts {} differently, {}{} and {}, and so refuses the role: release one of the two under another path \
                 and remove it here",
                if apart.len() == 1 {
                    "1 pair of target paths".to_owned()
                } else {
                    format!("{} pairs of target paths", apart.len())
                },
                if apart.len() == 1 { "" } else { "such as " },
                quote(shorter),
                quote(longer)
            );
            self.warn(rules::P11, path, message);
        }
        if let Some(example) = custom.first() {
            let message = format!(
                "{} an empty `custom`: tough drops it and then refuses the signatures",
                sentence(custom.len() as u64, "target", &quote(example.as_str()), ("has", "have"))
            );
            self.warn(rules::P9, path, message);
        }
        if let Some(example) = empty.first() {
            let message = format!(
                "{} empty, and php-tuf refuses empty targets",
                sentence(empty.len() as u64, "target", &quote(example.as_str()), ("is", "are"))
            );
            self.warn(rules::P4, path, message);
        }
    }

    /// Reports roles that the snapshot lists although no role delegates to them.
    pub(super) fn extra_roles(&mut self, path: &str, snapshot: &Snapshot, tree: &DelegationTree) {
        let extra: Vec<&RoleName> =
            snapshot.meta.keys().filter(|name| !tree.delegated.contains(*name) && **name != RoleName::root()).collect();
        if let Some(example) = extra.first() {
            let message = format!(
                "{} listed, and no role that could be read delegates to it: clients ignore that; keep it listed",
                sentence(extra.len() as u64, "role", &quote(example.as_str()), ("is", "are"))
            );
            self.note(rules::N7, path, message);
        }
    }
}
