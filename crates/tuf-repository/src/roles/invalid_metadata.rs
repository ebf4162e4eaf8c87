//! Why a file is not valid metadata of a role.

use thiserror::Error;
use tuf_core::document::DocumentError;
use tuf_core::envelope::ParseError;
use tuf_core::names::RoleName;
use tuf_core::verify::VerifyError;

/// The root does not name a role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("root version {root} does not name the role {role}")]
pub struct RoleNotInRoot {
    /// The role.
    pub role: RoleName,
    /// Version of the root.
    pub root: u64,
}

/// Why a file is not valid metadata of a role.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidMetadata {
    /// It is not signed metadata.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is not a document of the role's type.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Too few signatures of the role's keys.
    #[error(transparent)]
    Signatures(#[from] VerifyError),
    /// The root does not name the role.
    #[error(transparent)]
    RoleNotInRoot(#[from] RoleNotInRoot),
    /// The role above does not delegate to it.
    #[error("{parent} does not delegate to it")]
    NotDelegated {
        /// The role above.
        parent: &'static str,
    },
    /// It delegates nothing, but a role below it is in the repository.
    #[error("it delegates nothing, but the role {role} is in the repository")]
    NoDelegations {
        /// The role below.
        role: RoleName,
    },
    /// Its delegations cannot be read.
    #[error("cannot read its delegations: {source}")]
    Delegations {
        /// The reason.
        source: ParseError,
    },
    /// It holds another version than its name says.
    #[error("it says it is version {found}")]
    Version {
        /// The version in the file.
        found: u64,
    },
    /// Its version is higher than any that is ever used, 2^53 - 1.
    #[error("its version {version} is higher than any that is ever used (2^53 - 1)")]
    VersionTooHigh {
        /// The version.
        version: u64,
    },
    /// A timestamp names an older snapshot than the one that clients have seen: its writer did not see the newer one.
    #[error("it names snapshot version {version}, and clients have seen version {served}")]
    SnapshotBehindServed {
        /// Version of the snapshot that it names.
        version: u64,
        /// Version of the snapshot that the served timestamp names.
        served: u64,
    },
    /// A timestamp names a snapshot that is missing, or whose SHA-256 differs.
    #[error("it names snapshot version {version}, which is missing or has another SHA-256")]
    SnapshotMissing {
        /// Version of the snapshot.
        version: u64,
    },
}
