//! Files that a client does not trust or cannot get.

use super::fetch::FetchError;
use super::state_directory::StateError;
use crate::envelope::ParseError;
use crate::names::{RoleName, TargetPath};
use crate::root_chain::RootError;
use crate::schema::HashError;
use crate::time::UtcTime;
use crate::verify::VerifyError;

/// A file that the client does not trust or cannot get. Paths are those given to [`super::Fetch`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The root chain is broken, or its last root is expired.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state that the client keeps cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file could not be opened.
    #[error("cannot fetch {path}: {error}")]
    Fetch {
        /// The file.
        path: String,
        /// The reason.
        #[source]
        error: FetchError,
    },
    /// A file could not be read to its end.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
    /// A required file is missing.
    #[error("{path} is missing")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file is larger than listed or permitted.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The listed or permitted length in bytes.
        max: u64,
    },
    /// A file is shorter than listed.
    #[error("{path} has {found} bytes, expected {expected}")]
    Length {
        /// The file.
        path: String,
        /// Its length in bytes.
        found: u64,
        /// The length listed.
        expected: u64,
    },
    /// A file has another hash than listed.
    #[error("{path}: {error}")]
    Hash {
        /// The file.
        path: String,
        /// The hash that differs.
        #[source]
        error: HashError,
    },
    /// A file is not metadata of its role.
    #[error("malformed {path}: {error}")]
    Parse {
        /// The file.
        path: String,
        /// The member that is wrong.
        #[source]
        error: ParseError,
    },
    /// Too few valid signatures.
    #[error("{path}: {error}")]
    Signature {
        /// The file.
        path: String,
        /// The number of valid signatures.
        #[source]
        error: VerifyError,
    },
    /// Metadata has another version than listed.
    #[error("{path} has version {found}, expected {expected}")]
    Version {
        /// The file.
        path: String,
        /// In the file.
        found: u64,
        /// Listed.
        expected: u64,
    },
    /// A version decreased (specification §5.4.3, §5.5.5).
    #[error("rollback: {role} went from version {trusted} back to {found}")]
    Rollback {
        /// The role whose version decreased.
        role: RoleName,
        /// Seen before.
        trusted: u64,
        /// Offered now.
        found: u64,
    },
    /// A role of the trusted snapshot is not in the new one (§5.5.5).
    #[error("rollback: the snapshot no longer lists {role}")]
    Vanished {
        /// The role.
        role: RoleName,
    },
    /// Metadata is expired.
    #[error("{role} version {version} expired at {expires}")]
    Expired {
        /// The role.
        role: RoleName,
        /// Its version.
        version: u64,
        /// The expiry.
        expires: UtcTime,
    },
    /// A role is delegated to but not in the snapshot.
    #[error("the snapshot does not list the role {role}")]
    NotInSnapshot {
        /// The role.
        role: RoleName,
    },
    /// Nothing delegates to a role.
    #[error("{parent} does not delegate to {role}")]
    NotDelegated {
        /// The role.
        role: RoleName,
        /// The role that does not delegate to it.
        parent: RoleName,
    },
    /// A search would visit more roles than permitted.
    #[error("more than {max} roles to visit")]
    TooManyRoles {
        /// The limit.
        max: usize,
    },
    /// No role lists the target.
    #[error("no role lists the target {path}")]
    UnknownTarget {
        /// The target.
        path: TargetPath,
    },
    /// A verified target could not be written to the destination.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The target.
        path: TargetPath,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
    /// Targets were requested before [`super::Client::refresh`] succeeded.
    #[error("no refresh has succeeded yet")]
    NotRefreshed,
}
