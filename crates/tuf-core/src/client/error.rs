//! Why a client does not trust what it was given.

use super::fetch::FetchError;
use crate::envelope::ParseError;
use crate::names::{RoleName, TargetPath};
use crate::root_chain::RootError;
use crate::schema::HashError;
use crate::time::UtcTime;
use crate::verify::VerifyError;

/// Why a client does not trust what it was given, or could not get it. Paths are those given to [`super::Fetch`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The root chain is broken, or its last root is expired.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file could not be opened.
    #[error("cannot fetch {path}: {error}")]
    Fetch {
        /// The file.
        path: String,
        /// Why.
        error: FetchError,
    },
    /// A file could not be read to its end.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file that must be there is not.
    #[error("{path} is not there")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file is larger than what is listed or permitted.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// What is listed or permitted, in bytes.
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
    /// A file is not the one that was listed.
    #[error("{path}: {error}")]
    Hash {
        /// The file.
        path: String,
        /// Which hash, and what it is.
        error: HashError,
    },
    /// A file is not metadata of its role.
    #[error("malformed {path}: {error}")]
    Parse {
        /// The file.
        path: String,
        /// Where and what.
        error: ParseError,
    },
    /// Too few valid signatures.
    #[error("{path}: {error}")]
    Signature {
        /// The file.
        path: String,
        /// How many there are.
        error: VerifyError,
    },
    /// Metadata has another version than what lists it says.
    #[error("{path} has version {found}, expected {expected}")]
    Version {
        /// The file.
        path: String,
        /// In the file.
        found: u64,
        /// Listed.
        expected: u64,
    },
    /// A version went back (specification §5.4.3, §5.5.5).
    #[error("rollback: {role} goes from version {trusted} back to {found}")]
    Rollback {
        /// The role whose version went back.
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
        /// When.
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
        /// The role that would have to.
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
    /// A verified target could not be written where the caller wants it.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The target.
        path: TargetPath,
        /// Why.
        error: std::io::Error,
    },
    /// Targets were asked for before [`super::Client::refresh`] succeeded.
    #[error("no refresh has succeeded yet")]
    NotRefreshed,
}
