//! The four roles that root metadata lists.

use std::fmt;

use serde::{Serialize, Serializer};

/// A top-level role: one of the four that root metadata gives keys to (specification §2.1). Ordered by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopRole {
    /// `root`: which keys may sign which role.
    Root,
    /// `snapshot`: the version of every targets role.
    Snapshot,
    /// `targets`: the targets, and the roles it delegates to.
    Targets,
    /// `timestamp`: which snapshot is current.
    Timestamp,
}

impl TopRole {
    /// All four, ordered by name.
    pub const ALL: [Self; 4] = [Self::Root, Self::Snapshot, Self::Targets, Self::Timestamp];

    /// The role's name, which is also the `_type` of its metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for TopRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TopRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
