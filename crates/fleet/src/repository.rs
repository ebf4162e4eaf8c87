//! From the configuration to the parts of a signing role.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::root_chain::MAX_ROOT_BYTES;
use tuf_core::store::LocalStore;
use tuf_repository::floor::FloorFile;
use tuf_repository::retention::{Retention, RetentionPolicy};
use tuf_repository::roles::{Lifetime, RepositoryStores, Trust};

use crate::config::{Config, RoleConfig};
use crate::key_files;
use crate::roles::{KeyRole, WorkerRole};
use crate::signing::SigningError;

/// The stores of the repository at `repo_path`. Reads and writes nothing.
#[must_use]
pub fn stores(fs: &Arc<dyn Fs>, config: &Config) -> RepositoryStores {
    let store = |path| Arc::new(LocalStore::new(Arc::clone(fs), path));
    RepositoryStores {
        metadata: store(config.metadata_path()),
        targets: store(config.targets_path()),
        log: store(config.log_path()),
    }
}

/// The trust of `role`: the pinned root, and the role's keys.
///
/// # Errors
/// [`SigningError::PinnedRootMissing`]; [`SigningError::Keys`] for keys that cannot be used; [`SigningError`].
pub fn trust(fs: &Arc<dyn Fs>, config: &Config, role: KeyRole) -> Result<Trust, SigningError> {
    let pinned = match durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SigningError::PinnedRootMissing { path: config.trusted_root.clone() });
        }
        Err(source) => return Err(SigningError::PinnedRootUnreadable { source }),
    };
    let signers = key_files::signers(fs.as_ref(), &config.signing_keys_of(role), config.key_names(role))?;
    Ok(Trust::new(&pinned, stores(fs, config).metadata, signers)?)
}

/// The floor of `role`, in its private directory. A missing directory is made below an existing `state_path`.
///
/// # Errors
/// [`SigningError::StatePathMissing`], [`SigningError::StateDir`]; [`SigningError::Role`].
pub fn floor(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<FloorFile, SigningError> {
    let dir = config.state_of(role);
    if let Err(source) = fs.stat(&config.state_path) {
        return Err(SigningError::StatePathMissing { path: config.state_path.clone(), source });
    }
    durable::create_dir_all(fs.as_ref(), &dir, 0o700).map_err(|source| SigningError::StateDir { source })?;
    Ok(FloorFile::open(Arc::clone(fs), &dir)?)
}

/// The retention of `role`, with its marks beside its floor ([`floor`] makes the directory). `None` where the configuration
/// turns retention off.
///
/// # Errors
/// [`SigningError::RetentionMarks`] when the marks are there and cannot be read.
pub fn retention(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<Option<Retention>, SigningError> {
    let Some(keep) = config.retention else { return Ok(None) };
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let policy = RetentionPolicy::new(keep, config.roles.timestamp.expiry_seconds);
    let dir = config.state_of(role);
    Retention::open(Arc::clone(fs), &dir, policy).map(Some).map_err(|source| SigningError::RetentionMarks { source })
}

/// How long a role's metadata lives.
#[must_use]
pub fn lifetime(role: &RoleConfig) -> Lifetime {
    Lifetime { seconds: role.expiry_seconds, renew_before: role.renew_before_seconds }
}
