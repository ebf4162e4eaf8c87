//! From configuration to the parts a signing role is made of.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::store::LocalStore;
use tuf_repository::floor::FloorFile;
use tuf_repository::retention::{Retention, RetentionPolicy};
use tuf_repository::roles::{Lifetime, MAX_ROOT, Repository, RoleError, Trust};

use crate::config::{Config, RoleConfig};
use crate::keys::{self, KeysError};
use crate::roles::{KeyRole, WorkerRole};

/// The stores of the repository at `repo_path`. Nothing is touched.
#[must_use]
pub fn stores(fs: &Arc<dyn Fs>, config: &Config) -> Repository {
    let store = |path| Arc::new(LocalStore::new(Arc::clone(fs), path));
    Repository {
        metadata: store(config.metadata_path()),
        targets: store(config.targets_path()),
        log: store(config.log_path()),
    }
}

/// What `role` trusts and signs with: the pinned root, and the role's keys.
///
/// # Errors
/// [`RoleError::Waiting`] without a pinned root; [`RoleError::Alarm`] for keys that cannot be used.
pub fn trust(fs: &Arc<dyn Fs>, config: &Config, role: KeyRole, names: &[String]) -> Result<Trust, RoleError> {
    let pinned = match durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(RoleError::Waiting(format!(
                "there is no pinned root at {} (trusted_root): run `rugged initialize`",
                config.trusted_root.display()
            )));
        }
        Err(error) => {
            return Err(RoleError::Infrastructure(format!("{}: {error}", config.trusted_root.display())));
        }
    };
    let signers = keys::signers(fs.as_ref(), &config.signing_keys_of(role), names).map_err(|error| match error {
        KeysError::Io { .. } => RoleError::Infrastructure(error.to_string()),
        error => RoleError::Alarm(error.to_string()),
    })?;
    Trust::new(&pinned, stores(fs, config).metadata, signers)
}

/// The floor of `role`, in its private directory, which is made when missing below an existing `state_path`.
///
/// # Errors
/// [`RoleError::Infrastructure`], [`RoleError::Alarm`].
pub fn floor(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<FloorFile, RoleError> {
    let dir = config.state_of(role);
    if let Err(error) = fs.stat(&config.state_path) {
        return Err(RoleError::Infrastructure(format!(
            "state_path {}: {error}: mount or create it",
            config.state_path.display()
        )));
    }
    durable::create_dir_all(fs.as_ref(), &dir, 0o700)
        .map_err(|error| RoleError::Infrastructure(format!("{}: {error}", dir.display())))?;
    Ok(FloorFile::open(Arc::clone(fs), &dir)?)
}

/// What `role` may delete, and the marks it goes by, beside its floor ([`floor`] makes the directory); `None` where the
/// configuration says that nothing is deleted.
///
/// # Errors
/// [`RoleError::Infrastructure`] when the marks are there and cannot be read.
pub fn retention(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<Option<Retention>, RoleError> {
    let Some(keep) = config.retention else { return Ok(None) };
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let policy = RetentionPolicy::new(keep, config.roles.timestamp.expiry_seconds);
    let dir = config.state_of(role);
    Retention::open(Arc::clone(fs), &dir, policy)
        .map(Some)
        .map_err(|error| RoleError::Infrastructure(format!("the marks of retention in {}: {error}", dir.display())))
}

/// How long a role's metadata lives.
#[must_use]
pub fn lifetime(role: &RoleConfig) -> Lifetime {
    Lifetime { seconds: role.expiry_seconds, renew_before: role.renew_before_seconds }
}

impl From<RoleError> for crate::signing::RoleError {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Waiting(message) => Self::Waiting(message),
            RoleError::Alarm(message) => Self::Alarm(message),
            RoleError::Infrastructure(message) => Self::Infrastructure(message),
            RoleError::Refused(message) => Self::refused(message),
        }
    }
}
