//! Finding and downloading targets (specification §5.6.7 and §5.7).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{Read as _, Write};
use std::sync::Arc;

use super::{Client, ClientError, Fetch, Parent, fetch};
use crate::names::{RoleName, TargetPath};
use crate::schema::TargetMeta;
use crate::time::UtcTime;

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// What the repository says of a target: the first role in pre-order that lists it, among those trusted with it.
    /// `None` if none does.
    ///
    /// # Errors
    /// [`ClientError`] if a role on the way cannot be had or trusted, or there are too many of them.
    pub fn find_target(&mut self, path: &TargetPath) -> Result<Option<TargetMeta>, ClientError> {
        let now = self.refreshed.ok_or(ClientError::NotRefreshed)?;
        self.search(path, now, self.limits.delegations)
    }

    fn search(&mut self, path: &TargetPath, now: UtcTime, max: usize) -> Result<Option<TargetMeta>, ClientError> {
        let mut visited = HashSet::new();
        let mut to_visit: Vec<(Option<Parent>, RoleName)> = vec![(None, RoleName::targets())];
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
                let parent = Parent { name: name.clone(), role: Arc::clone(&role) };
                children.push((Some(parent), child.name));
                if child.terminating {
                    // Neither the siblings after it nor anything left over from before is searched.
                    to_visit.clear();
                    break;
                }
            }
            to_visit.extend(children.into_iter().rev());
            visited.insert(name);
        }
        Ok(None)
    }

    /// Every target the repository offers: exactly those [`Client::find_target`] finds. Reads every delegated role.
    ///
    /// # Errors
    /// [`ClientError`] if any role cannot be had or trusted, or there are too many of them.
    pub fn all_targets(&mut self) -> Result<BTreeMap<TargetPath, TargetMeta>, ClientError> {
        let now = self.refreshed.ok_or(ClientError::NotRefreshed)?;
        let max = self.limits.all_roles;
        let mut visited = HashSet::new();
        let mut paths = BTreeSet::new();
        let mut to_visit: Vec<(Option<Parent>, RoleName)> = vec![(None, RoleName::targets())];
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
            let parent = Parent { name, role };
            to_visit.extend(children.into_iter().map(|child| (Some(parent.clone()), child)));
        }
        // A role may list what it is not trusted with; only the search says what counts.
        let mut targets = BTreeMap::new();
        for path in paths {
            if let Some(meta) = self.search(&path, now, self.limits.delegations)? {
                targets.insert(path, meta);
            }
        }
        Ok(targets)
    }

    /// Downloads a target into memory.
    ///
    /// # Errors
    /// As [`Client::download_to`].
    pub fn download(&mut self, path: &TargetPath) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        self.download_to(path, &mut content)?;
        Ok(content)
    }

    /// Downloads a target and checks its length and every listed hash that can be checked. Returns what is said of it.
    ///
    /// Bytes are written as they come: on an error, what was written is not to be trusted.
    ///
    /// # Errors
    /// [`ClientError::UnknownTarget`] if no role lists it; otherwise as [`Client::find_target`], and if the content
    /// is missing, not the listed one, or cannot be written.
    pub fn download_to(&mut self, path: &TargetPath, to: &mut dyn Write) -> Result<TargetMeta, ClientError> {
        let meta = self.find_target(path)?.ok_or_else(|| ClientError::UnknownTarget { path: path.clone() })?;
        let location = match best_hash(&meta) {
            Some(hash) if self.chain.root().consistent_snapshot => path.hash_prefixed(&hash),
            _ => path.as_str().to_owned(),
        };
        let file = fetch::open(&self.targets, &location, meta.length)?
            .ok_or_else(|| ClientError::Missing { path: location.clone() })?;
        let mut file = file.take(meta.length.saturating_add(1));
        let mut checker = meta.hashes.checker();
        let (mut length, mut buffer) = (0u64, vec![0; 64 * 1024]);
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ClientError::Read { path: location, error }),
            };
            length += count as u64;
            if length > meta.length {
                return Err(ClientError::TooLarge { path: location, max: meta.length });
            }
            checker.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(|error| ClientError::Write { path: path.clone(), error })?;
        }
        if length < meta.length {
            return Err(ClientError::Length { path: location, found: length, expected: meta.length });
        }
        checker.finish().map_err(|error| ClientError::Hash { path: location, error })?;
        Ok(meta)
    }
}

/// The hash in the name of the file: sha256 if listed, as every publisher writes that one.
fn best_hash(meta: &TargetMeta) -> Option<String> {
    let listed = |wanted: &str| meta.hashes.iter().find(|(name, _)| *name == wanted).map(|(_, text)| text);
    listed("sha256").or_else(|| listed("sha512")).or_else(|| meta.hashes.iter().next().map(|(_, text)| text))
}
