//! Key generation and root metadata: the only code that handles root keys. It takes nothing from the broker.

mod generate;
mod initialize;

use std::path::PathBuf;

use fleet::keys::KeysError;

pub use generate::{GeneratedKey, KeyKind, KeyRequest, ROLES, generate_keys};
pub use initialize::{Initialized, InitializedRole, initialize};

/// Why a ceremony step was not done. Nothing is overwritten in any case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// The request itself is wrong.
    #[error("{0}")]
    Request(String),
    /// Something of that name is there already.
    #[error("{0} exists already and is never overwritten")]
    Exists(PathBuf),
    /// A key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Too few keys for a threshold.
    #[error("the role {role} needs {threshold} keys (roles.{role}.threshold), and {found} are there")]
    Threshold {
        /// The role.
        role: String,
        /// Keys needed.
        threshold: u64,
        /// Keys found.
        found: usize,
    },
    /// Making or using a key failed.
    #[error("{0}")]
    Key(String),
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The repository cannot be written.
    #[error(transparent)]
    Store(#[from] tuf_core::store::StoreError),
}
