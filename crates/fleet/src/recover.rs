//! `rugged recover`: state below the floor, and the administrator's word that a role goes on above it.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;
use tuf_repository::floor::{Floor, FloorFile};
use tuf_repository::roles::{MAX_ROOT, Repository, RoleError, Trust, recover};

use crate::signing::SigningError;
use crate::{Config, repository};

/// The roles that keep a floor, in the order in which they go on.
pub const ROLES: [&str; 3] = ["targets", "snapshot", "timestamp"];

/// How a role stands to its floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The role.
    pub role: String,
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
/// [`SigningError`] when floor or repository cannot be read, or there is nothing to go on from.
pub fn look(fs: &Arc<dyn Fs>, config: &Config, role: &str, now: UtcTime) -> Result<Option<Standing>, SigningError> {
    let Some(file) = open(fs, config, role)? else { return Ok(None) };
    let Some(floor) = file.get() else { return Ok(None) };
    let (name, stores, mut trust) = look_at(fs, config, role)?;
    let below = recover::below_floor(&name, &stores, &mut trust, &floor, now)?;
    Ok(Some(Standing { role: role.to_owned(), floor, below, granted: file.recovery_granted()? }))
}

/// Puts a floor in the place of one that is lost, `numbers` above what the repository shows; an existing one is raised at
/// most. The worker must not run: it would not notice. [`look`] then finds the repository below it.
///
/// # Errors
/// [`SigningError`] when floor or repository cannot be read or written, or there is nothing to go on from.
pub fn raise(fs: &Arc<dyn Fs>, config: &Config, role: &str, numbers: u64, now: UtcTime) -> Result<(), SigningError> {
    let mut file = repository::floor(fs, config, role)?;
    let (name, stores, mut trust) = look_at(fs, config, role)?;
    let known = file.get().unwrap_or_default();
    let above = recover::floor_above(&name, &stores, &mut trust, &known, numbers, now)?;
    file.raise(|floor| *floor = above)?;
    tracing::warn!(role = role, "the floor of {role} was put {numbers} numbers above what the repository shows");
    Ok(())
}

/// Grants that `role` goes on, once, above its floor as it is now. A running worker takes it up by itself.
///
/// # Errors
/// [`SigningError::FloorChanged`], without a floor too; [`RoleError::Floor`].
pub fn grant(fs: &Arc<dyn Fs>, config: &Config, standing: &Standing) -> Result<(), SigningError> {
    let role = &standing.role;
    let file = open(fs, config, role)?
        .filter(|file| file.get() == Some(standing.floor))
        .ok_or_else(|| SigningError::FloorChanged { role: role.clone() })?;
    file.grant_recovery()?;
    let below = standing.below.join("; ");
    tracing::warn!(role = role, "granted: {role} goes on above its floor, from state below it: {below}");
    Ok(())
}

fn look_at(fs: &Arc<dyn Fs>, config: &Config, role: &str) -> Result<(RoleName, Repository, Trust), SigningError> {
    let name = RoleName::new(role)?;
    let pinned = durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT)
        .map_err(|source| SigningError::PinnedRootUnreadable { source })?;
    let stores = repository::stores(fs, config);
    let trust = Trust::new(&pinned, stores.metadata.clone(), Vec::new())?;
    Ok((name, stores, trust))
}

fn open(fs: &Arc<dyn Fs>, config: &Config, role: &str) -> Result<Option<FloorFile>, SigningError> {
    let dir = config.state_of(role);
    if durable::stat_if_there(fs.as_ref(), &dir.join("")).is_ok_and(|stat| stat.is_none()) {
        return Ok(None);
    }
    Ok(Some(FloorFile::open(Arc::clone(fs), &dir)?))
}
