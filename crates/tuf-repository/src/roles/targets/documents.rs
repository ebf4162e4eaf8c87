//! The present documents of the role, as the commit log lists them.

use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;

use super::policy::Layout;
use super::role::TargetsRole;
use crate::log::RoleRef;
use crate::roles::error::{ListedBy, RoleError};
use crate::roles::invalid_metadata::InvalidMetadata;
use crate::roles::limits::MAX_TARGETS;
use crate::roles::parallel::try_map;
use crate::roles::versioned::versioned;

impl TargetsRole {
    /// The present documents of roles, checked against the log.
    pub(super) fn load(&mut self, roles: &[RoleName]) -> Result<Vec<(RoleName, Document)>, RoleError> {
        let mut cached = self.flat.take();
        let mut wanted = Vec::with_capacity(roles.len());
        for role in roles {
            let entry = self.log.roles().get(role).ok_or_else(|| RoleError::RoleNotInLog { role: role.clone() })?;
            let document = match &cached {
                Some((known, _)) if known == entry && *role == RoleName::targets() => cached.take().map(|(_, d)| d),
                _ => None,
            };
            wanted.push((role.clone(), entry.clone(), document));
        }
        let metadata = self.repository.metadata.as_ref();
        try_map(wanted, |(role, entry, document)| match document {
            Some(document) => Ok((role, document)),
            None => read_listed(metadata, &role, &entry).map(|document| (role, document)),
        })
    }

    /// Keeps a flat `targets` for the next call.
    pub(super) fn keep(&mut self, role: &RoleName, document: Document) {
        if let (Layout::Flat, Some(entry)) = (self.layout(), self.log.roles().get(role)) {
            self.flat = Some((entry.clone(), document));
        }
    }
}

/// Reads a role that the log lists. The log is signed with the targets keys, so its hash vouches for the bytes.
fn read_listed(metadata: &dyn Store, role: &RoleName, entry: &RoleRef) -> Result<Document, RoleError> {
    let file = versioned(role, entry.version)?;
    let Some(bytes) = metadata.read(&file, MAX_TARGETS)? else {
        return Err(RoleError::MetadataMissing { file, listed_by: ListedBy::CommitLog });
    };
    if bytes.len() as u64 != entry.length || Sha256::of(&bytes) != entry.sha256 {
        return Err(RoleError::BytesDiffer { file });
    }
    let invalid = |source: InvalidMetadata| RoleError::MetadataInvalid { file: file.clone(), source };
    let envelope = Envelope::parse(bytes).map_err(|error| invalid(error.into()))?;
    Document::parse(DocumentType::Targets, envelope.into_signed()).map_err(|error| invalid(error.into()))
}
