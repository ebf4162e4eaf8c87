//! The next version of a role.

use tuf_core::document::Document;
use tuf_core::names::RoleName;

/// The next version of a role, not written yet.
pub(super) struct Draft {
    pub(super) role: RoleName,
    pub(super) document: Document,
}
