//! Names of roles.

use std::sync::Arc;

use super::check::check_text;
use super::percent::percent_encode;
use super::text_type::name_type;
use super::top_role::TopRole;

/// Longest role name in bytes: leaves room for a version prefix and `.json` in one file name.
pub const MAX_ROLE_NAME_BYTES: usize = 200;

/// The name of a role (specification §4.5 ROLENAME).
///
/// Any text without control characters of at most [`MAX_ROLE_NAME_BYTES`]. This suffices to read metadata of other
/// publishers, who name roles `team/app` or `../x`. So **the text is not a file name**: [`MetadataFileName`] is. Names
/// given by this project are narrower: [`RoleName::is_ours`].
///
/// [`MetadataFileName`]: super::MetadataFileName
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Arc<str>);

name_type!(RoleName, "role name");

impl RoleName {
    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_ROLE_NAME_BYTES {
            return Err("is longer than 200 bytes");
        }
        if name.chars().any(char::is_control) {
            return Err("contains a control character");
        }
        Ok(())
    }

    /// A name whose parts were validated before.
    pub(crate) fn from_valid(name: &str) -> Self {
        debug_assert!(Self::check(name).is_ok(), "{name}");
        Self(Arc::from(name))
    }

    /// Whether the text is a file name as it stands: no `/`, no `\`, no dot in front, in Unicode normalization form C.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.0.starts_with('.') && !self.0.contains('/') && check_text(&self.0).is_ok()
    }

    /// The name with every byte but `A-Z a-z 0-9 _ . - ~` percent-encoded, as other clients write it into URLs and names of
    /// cached files.
    #[must_use]
    pub fn percent_encoded(&self) -> String {
        percent_encode(&self.0, "")
    }

    /// Whether the name is one that this project gives to roles: a letter, then letters, digits, `_` and `-`.
    ///
    /// php-tuf strips leading digits and dots from names, and some clients percent-encode everything else.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let mut bytes = self.0.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }

    /// Whether this is one of the four roles listed in root metadata.
    #[must_use]
    pub fn is_top_level(&self) -> bool {
        self.top_level().is_some()
    }

    /// The top-level role of this name.
    #[must_use]
    pub fn top_level(&self) -> Option<TopRole> {
        TopRole::ALL.into_iter().find(|role| role.as_str() == self.as_str())
    }

    /// The role `root`.
    #[must_use]
    pub fn root() -> Self {
        TopRole::Root.into()
    }

    /// The role `targets`.
    #[must_use]
    pub fn targets() -> Self {
        TopRole::Targets.into()
    }

    /// The role `snapshot`.
    #[must_use]
    pub fn snapshot() -> Self {
        TopRole::Snapshot.into()
    }

    /// The role `timestamp`.
    #[must_use]
    pub fn timestamp() -> Self {
        TopRole::Timestamp.into()
    }
}

impl From<TopRole> for RoleName {
    fn from(role: TopRole) -> Self {
        Self(Arc::from(role.as_str()))
    }
}
