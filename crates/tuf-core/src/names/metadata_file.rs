//! Names of metadata files.

use std::fmt;

use super::role_name::RoleName;

/// The name of a role's metadata file: `VERSION.ROLE.json`, or `ROLE.json` without a version (specification §6.1). Always one
/// component, never `.` or `..`, whatever the role's name holds.
///
/// It has two forms. In a directory ([`fmt::Display`]) a plain role name stands as it is, and any other is percent-encoded. In
/// a URL ([`MetadataFileName::url_segment`]) every name is percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataFileName {
    version: Option<u64>,
    role: RoleName,
}

impl MetadataFileName {
    /// `VERSION.ROLE.json`, the name of every root, and of all roles but the timestamp with consistent snapshots.
    #[must_use]
    pub fn versioned(role: RoleName, version: u64) -> Self {
        Self { version: Some(version), role }
    }

    /// `ROLE.json`.
    #[must_use]
    pub fn unversioned(role: RoleName) -> Self {
        Self { version: None, role }
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// The name as one segment of a URL's path.
    #[must_use]
    pub fn url_segment(&self) -> String {
        self.around(&self.role.percent_encoded())
    }

    fn around(&self, stem: &str) -> String {
        match self.version {
            Some(version) => format!("{version}.{stem}.json"),
            None => format!("{stem}.json"),
        }
    }
}

impl fmt::Display for MetadataFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.role.is_plain() {
            f.write_str(&self.around(self.role.as_str()))
        } else {
            f.write_str(&self.url_segment())
        }
    }
}
