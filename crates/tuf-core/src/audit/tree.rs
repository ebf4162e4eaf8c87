//! Targets roles and what they delegate (specification §4.5 and §5.6.7).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{Audit, Got, Stage, quote, rules};
use crate::client::Limits;
use crate::client::loaded::LoadedRole;
use crate::envelope::Envelope;
use crate::names::{RoleName, TargetPath};
use crate::schema::{RoleKeys, Root, Snapshot, TargetMeta, Targets};
use crate::verify;

/// Roles that python-tuf and go-tuf visit in the search for one target, the top-level one included.
const VISITED: usize = 33;

/// A targets role that could be read.
struct Node {
    /// Its file.
    path: String,
    role: LoadedRole,
    /// Roles that delegate to it; none for the top-level role.
    parents: Vec<RoleName>,
}

/// Every targets role that is delegated to and could be read.
#[derive(Default)]
pub(super) struct Tree {
    nodes: HashMap<RoleName, Node>,
    /// In the order in which they were read.
    order: Vec<RoleName>,
    /// Every name delegated to, read or not.
    delegated: HashSet<RoleName>,
}

/// Targets that clients find, with what they find, by path.
pub(super) type Offered<'t> = BTreeMap<&'t TargetPath, &'t TargetMeta>;

impl Audit<'_> {
    /// Reads the top-level targets role and everything it delegates to.
    pub(super) fn targets_roles(&mut self, root: &Root, snapshot: &Snapshot, snapshot_path: &str) -> Tree {
        let mut tree = Tree::default();
        let mut queue: VecDeque<(Option<RoleName>, RoleName)> = VecDeque::from([(None, RoleName::targets())]);
        tree.delegated.insert(RoleName::targets());
        let total = snapshot.meta.len() as u64;
        while let Some((parent, name)) = queue.pop_front() {
            self.progress(Stage::Roles, tree.order.len() as u64, total);
            if let Some(parent) = &parent
                && tree.nodes.contains_key(&name)
            {
                self.another_parent(&mut tree, parent, &name);
                continue;
            }
            let Some(listed) = snapshot.meta.get(&name) else {
                match &parent {
                    None => self.error(rules::N1, snapshot_path, "does not list targets.json; no target can be found"),
                    Some(parent) => {
                        let message = format!(
                            "does not list {}, which {parent} delegates to: clients fail when they come by it; sign \
                             the role and list it",
                            quote(&format!("{name}.json"))
                        );
                        self.error(rules::N2, snapshot_path, message);
                    }
                }
                continue;
            };
            let (limit, max) = (Limits::default().targets_bytes, self.options.ceilings.targets_bytes);
            let consistent = root.consistent_snapshot;
            let read = self.listed::<Targets>(&name, listed, snapshot_path, consistent, limit, max);
            let Some((path, doc)) = read else { continue };
            match &parent {
                None => {
                    self.report.versions.insert("targets", doc.metadata.version);
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
            self.check_targets(&path, &doc.metadata);
            let role = LoadedRole::new(doc.metadata);
            for child in self.children(&path, &role) {
                tree.delegated.insert(child.clone());
                queue.push_back((Some(name.clone()), child));
            }
            tree.order.push(name.clone());
            tree.nodes.insert(name, Node { path, role, parents: parent.into_iter().collect() });
        }
        tree
    }

    /// A role that was read before, delegated to by another one, perhaps with other keys.
    fn another_parent(&mut self, tree: &mut Tree, parent: &RoleName, name: &RoleName) {
        let Some(path) = tree.nodes.get(name).map(|node| node.path.clone()) else { return };
        if let Got::File(file) = self.get(&path, self.options.ceilings.targets_bytes)
            && let Ok(envelope) = Envelope::parse(file)
            && let Some((keys, defined)) = tree.keys_of(parent, name)
            && let Err(error) = verify::envelope(&envelope, defined, &keys)
        {
            let message = format!("by the keys that {parent} gives it: {error}; sign it with those too");
            self.error(rules::S3, &path, message);
        }
        if let Some(node) = tree.nodes.get_mut(name) {
            node.parents.push(parent.clone());
        }
    }

    /// Names a role delegates to, after a look at how it does.
    fn children(&mut self, path: &str, role: &LoadedRole) -> Vec<RoleName> {
        let Some(delegations) = &role.targets.delegations else {
            return Vec::new();
        };
        self.check_keys(path, &delegations.keys);
        let first = |extra: &crate::canonical::Extra| extra.iter().next().map(|(name, _)| name.to_owned());
        let more = delegations.roles.iter().find_map(|child| first(&child.extra)).or_else(|| first(&delegations.extra));
        if let Some(more) = more {
            let message = format!(
                "the delegations have a member {} of somebody's own: tough and php-tuf drop it and then refuse the \
                 signatures",
                quote(&more)
            );
            self.warn(rules::D10, path, message);
        }
        match &delegations.succinct_roles {
            Some(succinct) => {
                let message = "delegates to succinct roles: python-tuf, tuf-js and go-tuf read them, tough and php-tuf \
                               do not";
                self.note(rules::D11, path, message);
                let keys = RoleKeys::new(succinct.keyids.clone(), succinct.threshold);
                self.check_role_keys(path, "the succinct delegation", &delegations.keys, &keys);
                self.unused_keys(path, &delegations.keys, std::iter::once(succinct.keyids.as_slice()));
            }
            None => {
                for child in &delegations.roles {
                    let whose = format!("delegated role {}", child.name);
                    self.check_role_keys(path, &whose, &delegations.keys, &child.role_keys());
                }
                let used = delegations.roles.iter().map(|child| child.keyids.as_slice());
                self.unused_keys(path, &delegations.keys, used);
            }
        }
        let Some(children) = role.all_children(self.options.ceilings.roles) else {
            let message = format!("delegates to more than {} roles; they were not read", self.options.ceilings.roles);
            self.error(rules::D8, path, message);
            return Vec::new();
        };
        let odd =
            |name: &&RoleName| !name.as_str().is_ascii() || name.as_str().starts_with(|c: char| c.is_ascii_digit());
        if let Some(example) = children.iter().find(odd) {
            let message = format!(
                "{} role names begin with a digit or are not ASCII, such as {}: php-tuf and tuf-js cannot handle them; \
                 begin with a letter",
                children.iter().filter(odd).count(),
                quote(example.as_str())
            );
            self.warn(rules::D9, path, message);
        }
        children
    }

    /// What a role says of its targets, one by one.
    fn check_targets(&mut self, path: &str, targets: &Targets) {
        let (mut foreign, mut empty, mut custom) = (Vec::new(), Vec::new(), Vec::new());
        for (target, meta) in &targets.targets {
            if !target.as_str().is_ascii() {
                foreign.push(target);
            }
            if meta.length == 0 {
                empty.push(target);
            }
            if meta.custom.as_ref().is_some_and(|custom| custom.as_canonical() == "{}") {
                custom.push(target);
            }
            if meta.hashes.sha256().is_none() {
                let message = format!(
                    "target {} has no sha256, without which tough refuses the whole file",
                    quote(target.as_str())
                );
                self.error(rules::P3, path, message);
            }
        }
        if let Some(example) = foreign.first() {
            let message = format!(
                "{} target paths are not ASCII, such as {}: php-tuf computes other canonical bytes and refuses the role",
                foreign.len(),
                quote(example.as_str())
            );
            self.warn(rules::P2, path, message);
        }
        if let Some(example) = custom.first() {
            let message = format!(
                "{} targets have an empty `custom`, such as {}: tough drops it and then refuses the signatures",
                custom.len(),
                quote(example.as_str())
            );
            self.warn(rules::P9, path, message);
        }
        if let Some(example) = empty.first() {
            let message =
                format!("{} targets are empty, such as {}: php-tuf refuses them", empty.len(), quote(example.as_str()));
            self.warn(rules::P4, path, message);
        }
    }

    /// Roles that a snapshot lists for nobody.
    pub(super) fn extra_roles(&mut self, path: &str, snapshot: &Snapshot, tree: &Tree) {
        let extra: Vec<&RoleName> =
            snapshot.meta.keys().filter(|name| !tree.delegated.contains(*name) && **name != RoleName::root()).collect();
        if let Some(example) = extra.first() {
            let message = format!(
                "{} listed roles are not delegated to by any role that could be read, such as {}; clients do not look \
                 at them, and they must stay listed",
                extra.len(),
                quote(example.as_str())
            );
            self.note(rules::N7, path, message);
        }
    }

    /// Looks for every listed target as a client would, in memory.
    pub(super) fn search<'t>(&mut self, tree: &'t Tree) -> Offered<'t> {
        let mut listers: BTreeMap<&'t TargetPath, Vec<&'t RoleName>> = BTreeMap::new();
        for name in &tree.order {
            let Some(node) = tree.nodes.get(name) else { continue };
            for path in node.role.targets.targets.keys() {
                listers.entry(path).or_default().push(name);
            }
        }
        let total = listers.len() as u64;
        let mut offered = Offered::new();
        for (done, (path, roles)) in listers.into_iter().enumerate() {
            if done % 1024 == 0 {
                self.progress(Stage::Search, done as u64, total);
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
                        if index >= VISITED {
                            let message = format!(
                                "target {} is found after {index} delegations; python-tuf and go-tuf give up after {}",
                                quote(path.as_str()),
                                VISITED - 1
                            );
                            self.warn(rules::D8, &tree.nodes[*role].path, message);
                        }
                        offered.insert(path, meta);
                        found = Some((role, meta));
                    }
                    Some((first, known)) if known.hashes != meta.hashes || known.length != meta.length => {
                        let message = format!(
                            "says something else of target {} than {first}, which clients ask before",
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

    /// A role lists a target, and the search for it does not come by.
    fn not_found(&mut self, tree: &Tree, path: &TargetPath, role: &RoleName) {
        let Some(node) = tree.nodes.get(role) else { return };
        let shown = quote(path.as_str());
        if tree.trusts(role, path, &mut HashSet::new()) {
            let message = format!(
                "target {shown} is never found: a terminating delegation to another role ends the search before; \
                 reorder the delegations or move the target"
            );
            self.warn(rules::D2, &node.path, message);
        } else {
            let parents: Vec<&str> = node.parents.iter().map(RoleName::as_str).collect();
            let message = format!(
                "target {shown} lies outside of what {} delegates to {role}, so that no client finds it; move it to \
                 the role (or bin) it belongs to",
                parents.join(", ")
            );
            self.error(rules::D1, &node.path, message);
        }
    }
}

impl Tree {
    /// Keys and threshold that `parent` gives `name`, and where keys are defined.
    fn keys_of(
        &self,
        parent: &RoleName,
        name: &RoleName,
    ) -> Option<(RoleKeys, &BTreeMap<crate::names::KeyId, crate::key::PublicKey>)> {
        let parent = &self.nodes.get(parent)?.role;
        Some((parent.keys_for(name)?, &parent.targets.delegations.as_ref()?.keys))
    }

    /// Roles in the order in which the search for `path` visits them, if none lists it.
    fn visited(&self, path: &TargetPath) -> Vec<&RoleName> {
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

    /// Whether some chain of delegations trusts `role` with `path`.
    fn trusts<'t>(&'t self, role: &'t RoleName, path: &TargetPath, seen: &mut HashSet<&'t RoleName>) -> bool {
        if *role == RoleName::targets() {
            return true;
        }
        // Roles may delegate in circles.
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
