//! Why a ceremony step failed.

use std::io;
use std::path::PathBuf;

use fleet::KeyRole;
use fleet::key_files::KeysError;
use fleet::signing::SigningError;
use tuf_core::key::{KeyError, SignError};
use tuf_core::names::NameError;
use tuf_core::root_chain::RootError;
use tuf_core::store::{InvalidFileName, StoreError};

/// Why a ceremony step failed. A step never overwrites a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// The request names a key that cannot be a file name.
    #[error("invalid key name `{name}`: use 1 to 64 letters, digits, `-` and `_`")]
    InvalidKeyName {
        /// The requested name.
        name: String,
    },
    /// The name of a role is invalid.
    #[error(transparent)]
    RoleName(#[from] NameError),
    /// The name of a metadata file is invalid.
    #[error(transparent)]
    FileName(#[from] InvalidFileName),
    /// A file of this name exists already.
    #[error("{0} exists already and is never overwritten")]
    Exists(PathBuf),
    /// A key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A role has fewer keys than its threshold.
    #[error("role {role} needs {threshold} keys (roles.{role}.threshold), but has {found}")]
    TooFewKeys {
        /// The role.
        role: KeyRole,
        /// Keys needed.
        threshold: u32,
        /// Keys found.
        found: usize,
    },
    /// A key cannot be generated.
    #[error("cannot generate a key: {0}")]
    GenerateKey(#[source] KeyError),
    /// A root key cannot sign the new root.
    #[error("cannot sign the new root: {0}")]
    SignRoot(#[source] SignError),
    /// The new root does not verify, so it is not written.
    #[error("the new root does not verify: {0}")]
    InvalidNewRoot(#[source] RootError),
    /// The pinned root, which an earlier run left behind, does not verify.
    #[error("the pinned root {path} does not verify: {source}")]
    InvalidPinnedRoot {
        /// The pinned root.
        path: PathBuf,
        /// The reason.
        source: RootError,
    },
    /// The clock of this machine is wrong, or that of the repository's mount.
    #[error("no root was written: {0}")]
    Clock(#[source] SigningError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The repository cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CeremonyError {
    /// Whether the request or the configuration is invalid, rather than the keys or the machine.
    #[must_use]
    pub fn is_invalid_request(&self) -> bool {
        matches!(self, Self::InvalidKeyName { .. } | Self::RoleName(_) | Self::FileName(_))
    }
}
