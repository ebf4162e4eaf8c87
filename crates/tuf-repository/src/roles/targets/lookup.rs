//! The signed entries of targets.

use std::collections::BTreeMap;

use tuf_core::names::{RoleName, TargetPath};
use tuf_core::time::UtcTime;

use super::entry::TargetEntry;
use super::policy::Layout;
use super::role::TargetsRole;
use crate::roles::error::RoleError;

impl TargetsRole {
    /// The present entries of those of `paths` that are targets.
    ///
    /// # Errors
    /// [`RoleError`] when log or metadata cannot be read.
    pub fn entries_of<'p>(
        &mut self,
        paths: impl Iterator<Item = &'p TargetPath>,
        now: UtcTime,
    ) -> Result<BTreeMap<TargetPath, TargetEntry>, RoleError> {
        self.refresh(now)?;
        let mut found = BTreeMap::new();
        if self.log.head() == 0 {
            return Ok(found);
        }
        let layout = self.layout();
        let mut wanted: BTreeMap<RoleName, Vec<&TargetPath>> = BTreeMap::new();
        for path in paths {
            let role = match layout {
                Layout::Flat => RoleName::targets(),
                Layout::Bins(bins) => bins.name(bins.index_of(path)),
            };
            wanted.entry(role).or_default().push(path);
        }
        let roles: Vec<RoleName> = wanted.keys().cloned().collect();
        for ((role, document), paths) in self.load(&roles)?.into_iter().zip(wanted.into_values()) {
            for path in paths {
                if let Some(entry) = document.get(path.as_str()).and_then(TargetEntry::from_canonical) {
                    found.insert(path.clone(), entry);
                }
            }
            self.keep(&role, document);
        }
        Ok(found)
    }
}
