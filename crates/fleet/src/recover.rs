//! `rugged recover`: how a role compares with its floor, and the grant to resume above it.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::root_chain::MAX_ROOT_BYTES;
use tuf_core::time::UtcTime;
use tuf_repository::floor::{Floor, FloorFile};
use tuf_repository::roles::recover::{self, FlooredRole};
use tuf_repository::roles::{RepositoryStores, RoleError, Trust};

use crate::roles::WorkerRole;
use crate::signing::SigningError;
use crate::{Config, repository};

/// How the repository compares with the floor of a role.
#[derive(Debug)]
pub struct FloorStanding {
    /// The role.
    pub role: WorkerRole,
    /// Its floor.
    pub floor: Floor,
    /// The reasons why the repository is below the floor. Empty when it is not.
    pub below: Vec<RoleError>,
    /// Whether the recovery has been granted.
    pub granted: bool,
}

/// The worker of a role that keeps a floor.
#[must_use]
pub const fn worker_role(role: FlooredRole) -> WorkerRole {
    match role {
        FlooredRole::Targets => WorkerRole::Targets,
        FlooredRole::Snapshot => WorkerRole::Snapshot,
        FlooredRole::Timestamp => WorkerRole::Timestamp,
    }
}

/// Compares the repository with the floor of a role. `None` where its floor is not below this `state_path`. Writes nothing and
/// needs no key.
///
/// # Errors
/// [`SigningError`] when the floor or the repository cannot be read, or when the role cannot resume from it.
pub fn inspect(
    fs: &Arc<dyn Fs>,
    config: &Config,
    floored: FlooredRole,
    now: UtcTime,
) -> Result<Option<FloorStanding>, SigningError> {
    let role = worker_role(floored);
    let Some(file) = open(fs, config, role)? else { return Ok(None) };
    let Some(floor) = file.get() else { return Ok(None) };
    let (stores, mut trust) = open_repository(fs, config)?;
    let below = recover::below_floor(floored, &stores, &mut trust, &floor, now)?;
    Ok(Some(FloorStanding { role, floor, below, granted: file.recovery_granted()? }))
}

/// Replaces a lost floor by one `numbers` above the state of the repository. An existing floor is only raised. The worker must
/// not run, because it would not notice. [`inspect`] then finds the repository below the floor.
///
/// # Errors
/// [`SigningError`] when the floor or the repository cannot be read or written, or when the role cannot resume from it.
pub fn raise(
    fs: &Arc<dyn Fs>,
    config: &Config,
    floored: FlooredRole,
    numbers: u64,
    now: UtcTime,
) -> Result<(), SigningError> {
    let role = worker_role(floored);
    let mut file = repository::floor(fs, config, role)?;
    let (stores, mut trust) = open_repository(fs, config)?;
    let known = file.get().unwrap_or_default();
    let above = recover::floor_above(floored, &stores, &mut trust, &known, numbers, now)?;
    file.raise(|floor| *floor = above)?;
    tracing::warn!(role = role.as_str(), numbers = numbers, "floor raised above the repository");
    Ok(())
}

/// Lets the role resume once above its present floor. A running worker notices the grant at its next reconciliation.
///
/// # Errors
/// [`SigningError::FloorChanged`], also when the floor is gone; [`SigningError::Role`] when the grant cannot be written.
pub fn grant(fs: &Arc<dyn Fs>, config: &Config, standing: &FloorStanding) -> Result<(), SigningError> {
    let role = standing.role;
    let file = open(fs, config, role)?
        .filter(|file| file.get() == Some(standing.floor))
        .ok_or_else(|| SigningError::FloorChanged { role })?;
    file.grant_recovery()?;
    let below: Vec<String> = standing.below.iter().map(ToString::to_string).collect();
    tracing::warn!(role = role.as_str(), below = below.join("; "), "recovery granted");
    Ok(())
}

fn open_repository(fs: &Arc<dyn Fs>, config: &Config) -> Result<(RepositoryStores, Trust), SigningError> {
    let pinned = durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT_BYTES)
        .map_err(|source| SigningError::PinnedRootUnreadable { source })?;
    let stores = repository::stores(fs, config);
    let trust = Trust::new(&pinned, stores.metadata.clone(), Vec::new())?;
    Ok((stores, trust))
}

fn open(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<Option<FloorFile>, SigningError> {
    let dir = config.state_of(role);
    if durable::stat_if_there(fs.as_ref(), &dir.join("")).is_ok_and(|stat| stat.is_none()) {
        return Ok(None);
    }
    Ok(Some(FloorFile::open(Arc::clone(fs), &dir)?))
}
