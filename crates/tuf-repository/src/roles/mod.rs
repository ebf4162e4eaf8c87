//! One idempotent function per role.
//!
//! Each role reads the state below it, compares, and writes the next version or nothing, needing that role's keys only.
//! Running it twice, from two processes, or after a crash at any point is the same as running it once. Time is passed
//! in; all I/O is behind [`Store`] and [`durable_fs::Fs`] and blocks.

mod collect;
mod delegated;
mod parallel;
mod plain;
pub mod recover;
mod signed_file;
mod snapshot;
mod snapshots;
mod targets;
mod timestamp;
mod trust;

use std::fmt::Debug;
use std::sync::Arc;

use thiserror::Error;

pub use snapshot::SnapshotRole;
pub use targets::{Applied, Change, Commit, Layout, Submission, TargetEntry, TargetsPolicy, TargetsRole};
pub use timestamp::{TimestampPolicy, TimestampRole};
pub use trust::Trust;

use crate::floor::FloorError;
use crate::log::LogError;
use tuf_core::names::RoleName;
use tuf_core::store::{FileName, InvalidFileName, Store, StoreError};
use tuf_core::time::UtcTime;

/// The largest root metadata read (the ceiling of python-tuf and go-tuf).
pub const MAX_ROOT: u64 = 512_000;
/// The largest timestamp metadata read.
pub const MAX_TIMESTAMP: u64 = 64 << 10;
/// The largest snapshot metadata read.
pub const MAX_SNAPSHOT: u64 = 64 << 20;
/// The largest targets metadata read.
pub const MAX_TARGETS: u64 = 2 << 30;

/// Where a repository's files are.
#[derive(Clone, Debug)]
pub struct Repository {
    /// `metadata/`: served.
    pub metadata: Arc<dyn Store>,
    /// `targets/`: served.
    pub targets: Arc<dyn Store>,
    /// `log/`: never served.
    pub log: Arc<dyn Store>,
}

/// How long a role's metadata lives and when it is renewed, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From signing to expiry.
    pub seconds: i64,
    /// Renewed when less than this is left.
    pub renew_before: i64,
}

impl Lifetime {
    /// When metadata signed at `now` expires.
    #[must_use]
    pub fn expiry(&self, now: UtcTime) -> UtcTime {
        now.plus_seconds(self.seconds)
    }

    /// Whether metadata that expires at `expires` is to be renewed at `now`.
    #[must_use]
    pub fn due(&self, expires: UtcTime, now: UtcTime) -> bool {
        expires.seconds_since(now) <= self.renew_before
    }

    /// When metadata that expires at `expires` will be renewed.
    #[must_use]
    pub fn renewal(&self, expires: UtcTime) -> UtcTime {
        expires.plus_seconds(-self.renew_before)
    }
}

/// What a role did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The role's version now.
    pub version: u64,
    /// Whether this call wrote it.
    pub changed: bool,
}

/// Why a role did not do its work. Nothing was half done: running it again is always safe.
#[derive(Debug, Error)]
pub enum RoleError {
    /// What the role builds on is not there yet. Not an alarm.
    #[error("waiting: {0}")]
    Waiting(String),
    /// Something is wrong that a person has to look at; the role does not sign until it is gone.
    #[error("{0}")]
    Alarm(String),
    /// Disk, network or mount; trying again later is right.
    #[error("{0}")]
    Infrastructure(String),
    /// The request cannot be done as it is.
    #[error("{0}")]
    Refused(String),
}

impl From<StoreError> for RoleError {
    fn from(error: StoreError) -> Self {
        Self::Infrastructure(error.to_string())
    }
}

impl From<InvalidFileName> for RoleError {
    fn from(error: InvalidFileName) -> Self {
        Self::Alarm(error.to_string())
    }
}

impl From<LogError> for RoleError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Store(error) => error.into(),
            error => Self::Alarm(error.to_string()),
        }
    }
}

impl From<FloorError> for RoleError {
    fn from(error: FloorError) -> Self {
        match error {
            FloorError::Io { .. } => Self::Infrastructure(error.to_string()),
            FloorError::Malformed { .. } => Self::Alarm(error.to_string()),
        }
    }
}

/// `VERSION.role.json`.
fn versioned(role: &RoleName, version: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{version}.{role}.json"))
}

/// The first version from `from` on whose name is free. Only a hint: creating it exclusively decides.
fn free_version(store: &dyn Store, role: &RoleName, from: u64) -> Result<u64, RoleError> {
    let mut version = from;
    while store.stat(&versioned(role, version)?)?.is_some() {
        version += 1;
    }
    Ok(version)
}
