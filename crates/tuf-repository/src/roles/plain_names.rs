//! Repositories without consistent snapshots: unversioned names, which only the timestamp role replaces.
//!
//! No name moves before the hidden timestamp is durable. Then the changed target files, bins, `bins`, `targets` and the
//! snapshot are replaced by copies that this process owns, the timestamp last. A client in between sees a mix that it
//! refuses, and succeeds at its next try. A repetition after a crash changes no file that is already right.

use super::error::RoleError;
use super::limits::{MAX_SNAPSHOT, MAX_TARGETS};
use super::repository_stores::RepositoryStores;
use super::role_reader::{ExpectedBytes, RoleReader};
use super::snapshot_entry::{listed_version, version_of};
use super::targets::TargetEntry;
use super::trust::Trust;
use super::versioned::versioned;
use tuf_core::bins::{BINS_ROLE, is_bin};
use tuf_core::document::Document;
use tuf_core::names::{MetadataFileName, RoleName, TargetPath};
use tuf_core::sha256::FileDigest;
use tuf_core::store::{CopyFile, FileName, ReplaceOptions, Store};

/// Replaces the unversioned names of the files that snapshot `old` lists (without one: of all files) by those that `new`
/// lists.
pub(super) fn replace(
    repository: &RepositoryStores,
    reader: &mut RoleReader,
    trust: &Trust,
    old: Option<&Document>,
    new: &Document,
    with_target_files: bool,
) -> Result<(), RoleError> {
    let mut changed = Vec::new();
    for (key, entry) in new.iter() {
        let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_suffix(".json"));
        let (Some(name), Some(version)) = (name, listed_version(entry)) else {
            return Err(RoleError::SnapshotEntryInvalid { entry: String::from_utf8_lossy(&key).into_owned() });
        };
        let role = RoleName::new(name)?;
        let before = old.and_then(|old| version_of(old, &role));
        if before != Some(version) {
            changed.push((role, version, before));
        }
    }
    // A file moves before the file that refers to it.
    changed.sort_by_key(|(role, ..)| match role {
        role if is_bin(role) => 0,
        role if *role == BINS_ROLE => 1,
        _ => 2,
    });
    let listed = |role: &RoleName| version_of(new, role).map(|version| (version, ExpectedBytes::Version));
    let mut files = Vec::new();
    if with_target_files {
        for (role, version, before) in &changed {
            reader.prepare(trust, role, &listed)?;
            let (document, _) = reader.read(trust, role, *version, ExpectedBytes::Version)?;
            // Only changed targets. Without the old version (deleted, or the first) all are compared by hash.
            let previous = match before {
                Some(before) => {
                    reader.read(trust, role, *before, ExpectedBytes::Version).ok().map(|(document, _)| document)
                }
                None => None,
            };
            for (key, value) in document.iter() {
                let path = std::str::from_utf8(&key).unwrap_or_default();
                if previous.as_ref().is_some_and(|previous| previous.get(path) == Some(value)) {
                    continue;
                }
                files.extend(target_copy(path, value)?);
            }
        }
    }
    copy(repository.targets.as_ref(), files, MAX_TARGETS)?;
    let mut roles = Vec::with_capacity(changed.len() + 1);
    for (role, version, _) in changed {
        roles.push(plain_copy(&role, version)?);
    }
    roles.push(plain_copy(&RoleName::snapshot(), new.version())?);
    copy(repository.metadata.as_ref(), roles, MAX_TARGETS.max(MAX_SNAPSHOT))
}

/// `VERSION.role.json` to `role.json`.
pub(super) fn plain_copy(role: &RoleName, version: u64) -> Result<CopyFile, RoleError> {
    Ok(CopyFile {
        from: versioned(role, version)?,
        to: FileName::new(MetadataFileName::unversioned(role.clone()).to_string())?,
        expected: None,
        options: ReplaceOptions::default(),
    })
}

/// `dir/HASH.name` to `dir/name`.
pub(super) fn target_copy(path: &str, entry: &[u8]) -> Result<Option<CopyFile>, RoleError> {
    let Some(TargetEntry { length, sha256 }) = TargetEntry::from_canonical(entry) else { return Ok(None) };
    let path = TargetPath::new(path)?;
    Ok(Some(CopyFile {
        from: FileName::new(path.hash_prefixed(&sha256.to_string()))?,
        to: FileName::new(path.as_str())?,
        expected: Some(FileDigest { length, sha256 }),
        options: ReplaceOptions::default(),
    }))
}

/// Makes the copies whose destination differs.
pub(super) fn copy(store: &dyn Store, copies: Vec<CopyFile>, max: u64) -> Result<(), RoleError> {
    let mut needed = Vec::with_capacity(copies.len());
    for copy in copies {
        let present = store.digest(&copy.to, max)?;
        let wanted = match copy.expected {
            Some(expected) => Some(expected),
            None => store.digest(&copy.from, max)?,
        };
        if present.is_none() || present != wanted {
            needed.push(copy);
        }
    }
    if !needed.is_empty() {
        store.copy_all(&needed)?;
    }
    Ok(())
}
