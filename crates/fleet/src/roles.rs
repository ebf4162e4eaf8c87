//! The roles of the fleet: those with a worker, and those with keys.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::contract::{MONITOR_QUEUE, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE};

/// A role that has a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerRole {
    /// Takes drops in and drives the chain; has no keys.
    Monitor,
    /// Signs targets metadata and bins.
    Targets,
    /// Signs the snapshot.
    Snapshot,
    /// Signs the timestamp.
    Timestamp,
}

/// A role that has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Signs the root, in a ceremony.
    Root,
    /// Signs targets metadata and bins.
    Targets,
    /// Signs the snapshot.
    Snapshot,
    /// Signs the timestamp.
    Timestamp,
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{name}`: choose one of {expected}")]
pub struct UnknownRole {
    /// The word.
    pub name: String,
    /// The roles that were possible.
    pub expected: String,
}

impl UnknownRole {
    fn new(name: &str, expected: &[&str]) -> Self {
        // The word comes from outside.
        let name = name.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { name, expected: expected.join(", ") }
    }
}

impl WorkerRole {
    /// Every role with a worker, in the order in which a release passes them.
    pub const ALL: [Self; 4] = [Self::Monitor, Self::Targets, Self::Snapshot, Self::Timestamp];
    /// The roles that sign and keep a floor, in the order in which a release passes them.
    pub const SIGNING: [Self; 3] = [Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The role's name: `monitor`, `targets`, `snapshot` or `timestamp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    /// The queue of the role's worker.
    #[must_use]
    pub const fn queue(self) -> &'static str {
        match self {
            Self::Monitor => MONITOR_QUEUE,
            Self::Targets => TARGETS_QUEUE,
            Self::Snapshot => SNAPSHOT_QUEUE,
            Self::Timestamp => TIMESTAMP_QUEUE,
        }
    }

    /// The name of the role's worker, which is the name of its queue and of its program.
    #[must_use]
    pub const fn worker_name(self) -> &'static str {
        self.queue()
    }

    /// The role whose keys the worker holds; `None` for the monitor.
    #[must_use]
    pub const fn key_role(self) -> Option<KeyRole> {
        match self {
            Self::Monitor => None,
            Self::Targets => Some(KeyRole::Targets),
            Self::Snapshot => Some(KeyRole::Snapshot),
            Self::Timestamp => Some(KeyRole::Timestamp),
        }
    }
}

impl KeyRole {
    /// Every role with keys.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The role's name, as in metadata: `root`, `targets`, `snapshot` or `timestamp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl FromStr for WorkerRole {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == name);
        known.ok_or_else(|| UnknownRole::new(name, &Self::ALL.map(Self::as_str)))
    }
}

impl FromStr for KeyRole {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == name);
        known.ok_or_else(|| UnknownRole::new(name, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for WorkerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for WorkerRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for KeyRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_as_it_is_written_and_no_other_word_is_a_role() {
        for role in WorkerRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(role.worker_name(), format!("{role}-worker"));
        }
        for role in KeyRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        let error = "mirrors".parse::<WorkerRole>().unwrap_err().to_string();
        assert_eq!(error, "unknown role `mirrors`: choose one of monitor, targets, snapshot, timestamp");
        assert!("root".parse::<WorkerRole>().is_err() && "monitor".parse::<KeyRole>().is_err());
    }
}
