//! The next version of a role.

use tuf_core::document::Document;
use tuf_core::names::RoleName;

/// The next version of a role, not written yet.
pub(super) struct Draft {
    pub(super) role: RoleName,
    pub(super) document: Document,
    /// The version to begin with: a higher one is used where names are taken.
    pub(super) first: u64,
}

impl Draft {
    pub(super) fn new(role: RoleName, document: Document) -> Self {
        let first = document.version();
        Self { role, document, first }
    }
}
