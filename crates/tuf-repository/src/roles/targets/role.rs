//! The targets role and the state that it has read.

use std::cell::Cell;
use std::sync::Arc;

use tuf_core::bins::{BINS_ROLE, BinLayout, is_bin};
use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

use super::policy::{Layout, TargetsPolicy};
use crate::floor::FloorFile;
use crate::log::{Log, RoleRef};
use crate::roles::lifetime::Lifetime;
use crate::roles::repository_stores::RepositoryStores;
use crate::roles::trust::Trust;

/// The targets role of one repository.
#[derive(Debug)]
pub struct TargetsRole {
    pub(in crate::roles) repository: RepositoryStores,
    pub(in crate::roles) trust: Trust,
    pub(in crate::roles) policy: TargetsPolicy,
    pub(super) floor: FloorFile,
    pub(in crate::roles) log: Log,
    /// A flat `targets` as on disk. Reading a million entries takes longer than signing them.
    pub(in crate::roles) flat: Option<(RoleRef, Document)>,
    /// The number of roles in the log's table, and the layout of that table.
    known_layout: Cell<Option<(usize, Layout)>>,
}

impl TargetsRole {
    /// Opens the role. Only the floor has been read.
    #[must_use]
    pub fn new(repository: RepositoryStores, trust: Trust, policy: TargetsPolicy, floor: FloorFile) -> Self {
        let log = Log::new(Arc::clone(&repository.log));
        Self { repository, trust, policy, floor, log, flat: None, known_layout: Cell::new(None) }
    }

    /// The commit log as last read.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The floor.
    #[must_use]
    pub fn floor(&self) -> &FloorFile {
        &self.floor
    }

    /// The trust of the role.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The reference of `targets`, as last read.
    #[must_use]
    pub fn current(&self) -> Option<&RoleRef> {
        self.log.roles().get(&RoleName::targets())
    }

    /// Conditions that an operator must look at, although the role goes on.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.trust.notices().chain(self.log.notices())
    }

    /// Time of the next renewal of the role's metadata, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.log.roles().iter().map(|(role, entry)| self.lifetime(role).renewal(entry.expires)).min()
    }

    /// The earliest expiry of the bins and the role above them, as last read. `None` without bins.
    #[must_use]
    pub fn bins_expire(&self) -> Option<UtcTime> {
        if self.layout() == Layout::Flat {
            return None;
        }
        let bins = self.log.roles().iter().filter(|(role, _)| role.as_str() == BINS_ROLE || is_bin(role));
        bins.map(|(_, entry)| entry.expires).min()
    }

    /// The present layout of the repository.
    #[must_use]
    pub fn layout(&self) -> Layout {
        // Roles are only added to the table: with the same number of roles the layout is the same.
        let count = self.log.roles().len();
        match self.known_layout.get() {
            Some((known, layout)) if known == count => layout,
            _ => {
                let layout = BinLayout::of_roles(self.log.roles().keys()).map_or(Layout::Flat, Layout::Bins);
                self.known_layout.set(Some((count, layout)));
                layout
            }
        }
    }

    pub(super) fn lifetime(&self, role: &RoleName) -> Lifetime {
        if is_bin(role) { self.policy.bins } else { self.policy.targets }
    }
}
