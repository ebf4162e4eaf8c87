//! Why a role did not do its work.

use std::fmt;
use std::io;

use thiserror::Error;

use super::invalid_metadata::{InvalidMetadata, RoleNotInRoot};
use super::targets::SortedApart;
use crate::floor::FloorError;
use crate::log::LogError;
use tuf_core::key::SignError;
use tuf_core::names::{KeyId, NameError, RoleName, TargetPath};
use tuf_core::root_chain::RootError;
use tuf_core::schema::InvalidHashPrefix;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, InvalidFileName, StoreError};
use tuf_core::time::UtcTime;

/// The reaction to a [`RoleError`]: it decides the exception that a caller sees, the worker's health and the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleErrorKind {
    /// The state below the role is not there yet. Nothing is wrong; try again.
    Waiting,
    /// An operator must look at it. The role signs nothing until the cause is gone.
    Alarm,
    /// A disk, a network or a mount failed. Try again later.
    Infrastructure,
    /// The request cannot be done. The same request fails again.
    Refused,
}

/// Why a role did not do its work. Nothing is half done: it is always safe to run the role again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The pinned root is not valid root metadata.
    #[error("cannot use the pinned root: {source}")]
    PinnedRootInvalid {
        /// The reason.
        source: RootError,
    },
    /// The repository does not hold the newest trusted root.
    #[error("{version}.root.json is not in the repository: not initialized, or the mount is missing")]
    RootMissing {
        /// Version of the newest trusted root.
        version: u64,
    },
    /// The newest root has expired.
    #[error("root version {version} expired at {expires}: publish a new root version")]
    RootExpired {
        /// Its version.
        version: u64,
        /// When it expired.
        expires: UtcTime,
    },
    /// The root does not name a role.
    #[error(transparent)]
    RoleNotInRoot(#[from] RoleNotInRoot),
    /// This process has fewer of the role's keys than the threshold.
    #[error(
        "{found} of {threshold} signing keys of the role {role} are available{}",
        staged_keys(*root, staged)
    )]
    SigningKeysMissing {
        /// The role.
        role: RoleName,
        /// Keys of the role that this process has.
        found: usize,
        /// Signatures that the role needs.
        threshold: u32,
        /// Version of the root that names the keys.
        root: u64,
        /// Keys of this process that the root does not give to the role.
        staged: Vec<KeyId>,
    },
    /// A key did not sign.
    #[error("cannot sign for the role {role} with key {keyid}: {source}")]
    SignFailed {
        /// The role.
        role: RoleName,
        /// The key.
        keyid: KeyId,
        /// The reason.
        source: SignError,
    },

    /// A file that trusted metadata lists is missing.
    #[error("{file} is missing, but the {listed_by} names it: restore the file")]
    MetadataMissing {
        /// The file.
        file: FileName,
        /// The metadata that lists it.
        listed_by: ListedBy,
    },
    /// A file is not valid metadata of its role.
    #[error("{file} is not valid: {source}")]
    MetadataInvalid {
        /// The file.
        file: FileName,
        /// The reason.
        source: InvalidMetadata,
    },
    /// A file has another length or SHA-256 than its commit record says.
    #[error("{file} has been changed: its bytes are not those that the commit log names; restore the file")]
    BytesDiffer {
        /// The file.
        file: FileName,
    },
    /// A file has another expiry than its commit record says.
    #[error("{file} expires at {found}, but its commit record says {expected}")]
    ExpiryDiffers {
        /// The file.
        file: FileName,
        /// The time in the commit record.
        expected: UtcTime,
        /// The time in the file.
        found: UtcTime,
    },
    /// A role is listed, but the role that should delegate to it is not.
    #[error("nothing delegates to the role {role}: the role {parent} is missing")]
    DelegatingRoleMissing {
        /// The delegated role.
        role: RoleName,
        /// The role that should delegate to it.
        parent: RoleName,
    },

    /// The commit log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The commit log is new.
    #[error("the commit log has no record yet")]
    NoRecordYet,
    /// The commit log is empty, but the role has signed records before.
    #[error("the commit log is empty, but the floor is not: restore a backup of the log first")]
    LogEmpty,
    /// Signed metadata exists, but none of this role's own state: it is somebody's repository.
    #[error(
        "{file} is metadata of a repository that this role has no state of, so it is not started over: this version cannot \
         adopt a repository of other software, which needs an empty directory; if it is this fleet's own repository, restore \
         its newest backup (log and metadata), then see `rugged recover`"
    )]
    ForeignMetadata {
        /// The file.
        file: FileName,
    },
    /// The floor says that a version or record existed, and something that cannot be read holds its name.
    #[error(
        "{file}, which this role has used before, cannot be read ({source}): give the role access to it, or restore the file"
    )]
    FileUnreadable {
        /// The file.
        file: FileName,
        /// The reason.
        source: StoreError,
    },
    /// A record has another digest than the role remembers.
    #[error("record {number} is not the one signed before: its digest differs")]
    RecordReplaced {
        /// Number of the record.
        number: u64,
    },
    /// The commit log does not list a role that the layout needs.
    #[error("the role {role} is not in the commit log: the layout is incomplete")]
    RoleNotInLog {
        /// The role.
        role: RoleName,
    },
    /// Another writer of the same role was faster, each time.
    #[error("another writer of the {contested} was first, at the last of {attempts} attempts: try again")]
    LostRace {
        /// The object that both wanted to write.
        contested: Contested,
        /// How often this writer tried.
        attempts: usize,
    },

    /// Files that are not valid hold the next names of a role.
    #[error(
        "the next {count} names of the role {role} are taken, up to {file}, by files that are not valid: find out who made \
         them, and remove them"
    )]
    NamesTaken {
        /// The role.
        role: RoleName,
        /// Number of names.
        count: u64,
        /// The last of them.
        file: FileName,
    },
    /// The role has reached the highest version that is ever used.
    #[error(
        "the role {role} has reached the highest version, 2^53 - 1: publish a new root version with a new key for it, so \
         that clients forget its versions, then run `rugged recover`"
    )]
    NumbersUsedUp {
        /// The role.
        role: RoleName,
    },

    /// A floor is to be made so high that versions would soon run out.
    #[error("a floor of {number} for the role {role} leaves too few versions: choose a lower number")]
    BeyondTooHigh {
        /// The role.
        role: RoleName,
        /// The floor.
        number: u64,
    },

    /// The newest snapshot lists a newer version of a role than the commit log.
    #[error(
        "the newest snapshot lists {role} version {snapshot}, but the commit log lists version {log}: versions never go back"
    )]
    SnapshotAheadOfLog {
        /// The role.
        role: RoleName,
        /// The version that the snapshot lists.
        snapshot: u64,
        /// The version that the commit log lists.
        log: u64,
    },
    /// The newest snapshot lists a role that the commit log does not.
    #[error("the snapshot lists {role}, but the commit log does not")]
    SnapshotListsUnknownRole {
        /// The role, as the snapshot spells it.
        role: String,
    },
    /// An entry of a snapshot has no role name or no version.
    #[error("the snapshot lists {entry:?}, which is not a role with a version")]
    SnapshotEntryInvalid {
        /// Key of the entry.
        entry: String,
    },
    /// The repository has no snapshot yet.
    #[error("the repository has no snapshot yet")]
    NoSnapshotYet,
    /// The newest snapshot has expired.
    #[error("snapshot version {version} expired at {expires}: it must be renewed first")]
    SnapshotExpired {
        /// Its version.
        version: u64,
        /// When it expired.
        expires: UtcTime,
    },
    /// The next timestamp would be longer than clients read.
    #[error(
        "the timestamp would be {length} bytes long, and clients read at most {max}: its signatures are too many or too long; \
         publish a root version with fewer or shorter keys for the role timestamp (Ed25519 keys are the shortest)"
    )]
    TimestampTooLong {
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The newest snapshot is older than the one that clients see.
    #[error("the newest snapshot is version {newest}, but the served timestamp names version {served}")]
    SnapshotBehindServed {
        /// Version of the newest snapshot.
        newest: u64,
        /// Version of the snapshot that clients see.
        served: u64,
    },
    /// The newest snapshot lists an older version of a role than the snapshot that clients see.
    #[error("{entry} would go back in the snapshot")]
    EntryWouldGoBack {
        /// Key of the entry, such as `targets.json`.
        entry: String,
    },
    /// The newest snapshot lacks a role that the snapshot lists that clients see.
    #[error("{entry} would vanish from the snapshot")]
    EntryWouldVanish {
        /// Key of the entry, such as `targets.json`.
        entry: String,
    },

    /// The floor cannot be read or written.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The repository is older than the state that the role remembers.
    #[error("{}", below_floor(*item, *floor, *found))]
    BelowFloor {
        /// The number that is too low.
        item: FloorItem,
        /// The lowest number that the role accepts.
        floor: u64,
        /// The number that the repository shows.
        found: u64,
    },
    /// The clock is a few seconds behind the last signing, as after a correction by a time server.
    #[error("the clock is {seconds} s behind the last signing")]
    ClockBehind {
        /// Seconds until the clock has caught up.
        seconds: i64,
    },
    /// The clock is far behind the last signing.
    #[error("the clock says {now}, before the last signing at {signed}: one of the two is wrong")]
    ClockBeforeLastSigning {
        /// The clock.
        now: UtcTime,
        /// Time of the last signing.
        signed: UtcTime,
    },

    /// A removal names another SHA-256 than the target has.
    #[error("cannot remove {path}: its SHA-256 is not the expected {expected}; nothing was removed")]
    PreconditionFailed {
        /// The target.
        path: TargetPath,
        /// The SHA-256 that the caller expected.
        expected: Sha256,
    },
    /// tough would refuse a role after some of the submissions. The others can be committed without them.
    #[error("{}; nothing was changed", _0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    SortedApart(Vec<SortedApart>),

    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name of a role or target is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bin has a path hash prefix that is not valid.
    #[error("invalid path hash prefix {prefix:?}: {source}")]
    HashPrefix {
        /// The prefix.
        prefix: String,
        /// The reason.
        source: InvalidHashPrefix,
    },
    /// A role and version make no file name.
    #[error(transparent)]
    FileName(#[from] InvalidFileName),
    /// The marks of retention cannot be written.
    #[error("cannot write the retention marks: {source}")]
    RetentionMarks {
        /// The reason.
        source: io::Error,
    },
}

impl RoleError {
    /// The reaction to it.
    #[must_use]
    pub fn kind(&self) -> RoleErrorKind {
        use RoleErrorKind::{Alarm, Infrastructure, Refused, Waiting};
        match self {
            Self::RootMissing { .. }
            | Self::NoRecordYet
            | Self::NoSnapshotYet
            | Self::SnapshotExpired { .. }
            | Self::ClockBehind { .. } => Waiting,
            Self::Store(_)
            | Self::Log(LogError::Store(_))
            | Self::Floor(FloorError::Io { .. })
            | Self::RetentionMarks { .. }
            | Self::LostRace { .. } => Infrastructure,
            Self::PreconditionFailed { .. } | Self::SortedApart(_) | Self::BeyondTooHigh { .. } => Refused,
            Self::PinnedRootInvalid { .. }
            | Self::RootExpired { .. }
            | Self::RoleNotInRoot(_)
            | Self::SigningKeysMissing { .. }
            | Self::SignFailed { .. }
            | Self::MetadataMissing { .. }
            | Self::MetadataInvalid { .. }
            | Self::BytesDiffer { .. }
            | Self::ExpiryDiffers { .. }
            | Self::DelegatingRoleMissing { .. }
            | Self::Log(_)
            | Self::LogEmpty
            | Self::ForeignMetadata { .. }
            | Self::NamesTaken { .. }
            | Self::NumbersUsedUp { .. }
            | Self::FileUnreadable { .. }
            | Self::RecordReplaced { .. }
            | Self::RoleNotInLog { .. }
            | Self::SnapshotAheadOfLog { .. }
            | Self::SnapshotListsUnknownRole { .. }
            | Self::SnapshotEntryInvalid { .. }
            | Self::TimestampTooLong { .. }
            | Self::SnapshotBehindServed { .. }
            | Self::EntryWouldGoBack { .. }
            | Self::EntryWouldVanish { .. }
            | Self::Floor(_)
            | Self::BelowFloor { .. }
            | Self::ClockBeforeLastSigning { .. }
            | Self::Name(_)
            | Self::HashPrefix { .. }
            | Self::FileName(_) => Alarm,
        }
    }
}

fn staged_keys(root: u64, staged: &[KeyId]) -> String {
    if staged.is_empty() {
        return String::new();
    }
    let ids: Vec<&str> = staged.iter().map(KeyId::as_str).collect();
    format!("; not in root version {root} (staged?): {}", ids.join(", "))
}

fn below_floor(item: FloorItem, floor: u64, found: u64) -> String {
    match item {
        FloorItem::Root => format!(
            "root version {found} is below the floor {floor}: the metadata directory was restored or rolled back; restore \
             the root files in between from any client or backup"
        ),
        FloorItem::Record => {
            format!("the commit log ends at record {found}, below the floor {floor}: it was restored or rolled back")
        }
        FloorItem::Snapshot => {
            format!("the newest snapshot is version {found}, below the floor {floor}: it was restored or rolled back")
        }
        FloorItem::Timestamp => {
            format!("the served timestamp is version {found}, below the floor {floor}: it was restored or rolled back")
        }
    }
}

/// The number of a [`crate::floor::Floor`] that a repository is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorItem {
    /// Version of the newest root.
    Root,
    /// Number of the newest commit record.
    Record,
    /// Version of the newest snapshot.
    Snapshot,
    /// Version of the served timestamp.
    Timestamp,
}

/// The metadata that lists a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// A commit record.
    CommitLog,
    /// A snapshot.
    Snapshot,
    /// A timestamp.
    Timestamp,
}

impl fmt::Display for ListedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommitLog => "commit log",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        })
    }
}

/// The object for which two writers of one role compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contested {
    /// The next record.
    CommitLog,
    /// The next snapshot version.
    Snapshot,
    /// The next timestamp version.
    Timestamp,
}

impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommitLog => "commit log",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_looks_into_its_source() {
        let store = || StoreError::NotFound { doing: "read", name: "x".into() };
        assert_eq!(RoleError::from(store()).kind(), RoleErrorKind::Infrastructure);
        assert_eq!(RoleError::from(LogError::Store(store())).kind(), RoleErrorKind::Infrastructure);
        assert_eq!(RoleError::from(LogError::Squatted(64)).kind(), RoleErrorKind::Alarm);
        let disk = FloorError::Io { doing: "read", path: "x".into(), source: io::ErrorKind::Other.into() };
        assert_eq!(RoleError::from(disk).kind(), RoleErrorKind::Infrastructure);
        assert_eq!(RoleError::from(FloorError::NoFloor { path: "x".into() }).kind(), RoleErrorKind::Alarm);
    }

    #[test]
    fn staged_keys_are_named() {
        let error = |staged| RoleError::SigningKeysMissing {
            role: RoleName::snapshot(),
            found: 0,
            threshold: 1,
            root: 3,
            staged,
        };
        assert_eq!(error(vec![]).to_string(), "0 of 1 signing keys of the role snapshot are available");
        let said = error(vec![KeyId::new("ab").unwrap()]).to_string();
        assert_eq!(said, "0 of 1 signing keys of the role snapshot are available; not in root version 3 (staged?): ab");
    }
}
