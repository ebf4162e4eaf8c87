//! `rugged recover`: state below the floor, and the administrator's word that a role goes on above it.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;
use tuf_repository::floor::{Floor, FloorFile};
use tuf_repository::roles::{MAX_ROOT, Repository, RoleError, Trust, recover};

use crate::roles::WorkerRole;
use crate::{Config, repository};

/// How a role stands to its floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The role.
    pub role: WorkerRole,
    /// Its floor.
    pub floor: Floor,
    /// What is below it; nothing when all is well.
    pub below: Vec<String>,
    /// Whether it was granted already that the role goes on.
    pub granted: bool,
}

/// Looks how `role` stands; `None` where its floor is not kept below this `state_path`. Writes nothing, needs no key.
///
/// # Errors
/// [`RoleError`] when floor or repository cannot be read, or there is nothing to go on from.
pub fn look(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole, now: UtcTime) -> Result<Option<Standing>, RoleError> {
    let Some(file) = open(fs, config, role)? else { return Ok(None) };
    let Some(floor) = file.get() else { return Ok(None) };
    let (name, stores, mut trust) = look_at(fs, config, role)?;
    let below = recover::below_floor(&name, &stores, &mut trust, &floor, now)?;
    Ok(Some(Standing { role, floor, below, granted: file.recovery_granted()? }))
}

/// Puts a floor in the place of one that is lost, `numbers` above what the repository shows; an existing one is raised at
/// most. The worker must not run: it would not notice. [`look`] then finds the repository below it.
///
/// # Errors
/// [`RoleError`] when floor or repository cannot be read or written, or there is nothing to go on from.
pub fn raise(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole, numbers: u64, now: UtcTime) -> Result<(), RoleError> {
    let mut file = repository::floor(fs, config, role)?;
    let (name, stores, mut trust) = look_at(fs, config, role)?;
    let known = file.get().unwrap_or_default();
    let above = recover::floor_above(&name, &stores, &mut trust, &known, numbers, now)?;
    file.raise(|floor| *floor = above)?;
    tracing::warn!(
        role = role.as_str(),
        "the floor of {role} was put {numbers} numbers above what the repository shows"
    );
    Ok(())
}

/// Grants that `role` goes on, once, above its floor as it is now. A running worker takes it up by itself.
///
/// # Errors
/// [`RoleError::Infrastructure`]; [`RoleError::Refused`] without a floor.
pub fn grant(fs: &Arc<dyn Fs>, config: &Config, standing: &Standing) -> Result<(), RoleError> {
    let role = standing.role;
    let file = open(fs, config, role)?.filter(|file| file.get() == Some(standing.floor)).ok_or_else(|| {
        RoleError::Refused(format!("the floor of {role} has changed since it was looked at: look again"))
    })?;
    file.grant_recovery()?;
    let below = standing.below.join("; ");
    tracing::warn!(role = role.as_str(), "granted: {role} goes on above its floor, from state below it: {below}");
    Ok(())
}

fn look_at(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<(RoleName, Repository, Trust), RoleError> {
    let name = RoleName::new(role.as_str()).map_err(|error| RoleError::Refused(error.to_string()))?;
    let pinned = durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT)
        .map_err(|error| RoleError::Infrastructure(format!("trusted_root: {error}")))?;
    let stores = repository::stores(fs, config);
    let trust = Trust::new(&pinned, stores.metadata.clone(), Vec::new())?;
    Ok((name, stores, trust))
}

fn open(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole) -> Result<Option<FloorFile>, RoleError> {
    let dir = config.state_of(role);
    if durable::stat_if_there(fs.as_ref(), &dir.join("")).is_ok_and(|stat| stat.is_none()) {
        return Ok(None);
    }
    Ok(Some(FloorFile::open(Arc::clone(fs), &dir)?))
}
