//! Repositories as an administrator makes them, and their roles opened as the workers open them.

use std::path::Path;
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::config::TargetNames;
use fleet::{Config, KeyRole, WorkerRole, repository};
use root_worker::KeyRequest;
use service::clock::{Clock as _, SystemClock};
use tuf_core::bins::BinLayout;
use tuf_core::names::TargetPath;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{
    Layout, SnapshotRole, Submission, TargetChange, TargetEntry, TargetsPolicy, TargetsRole, TimestampPolicy,
    TimestampRole,
};

use crate::Result;

/// The three signing roles of one repository.
#[derive(Debug)]
pub struct Roles {
    /// The targets role.
    pub targets: TargetsRole,
    /// The snapshot role.
    pub snapshot: SnapshotRole,
    /// The timestamp role.
    pub timestamp: TimestampRole,
}

/// The configuration of a repository in `dir` with Ed25519 keys.
///
/// # Errors
/// When `bins` is no possible count.
pub fn config(dir: &Path, bins: u32) -> Result<Config> {
    Ok(Config::beneath(dir).set("number_of_bins", bins.to_string()).build()?)
}

/// Makes keys and root.
///
/// # Errors
/// Whatever went wrong.
pub fn initialize(config: &Config) -> Result<()> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    for dir in [&config.state_path, &config.post_to_tuf_path, &config.inbound_targets_path] {
        std::fs::create_dir_all(dir)?;
    }
    root_worker::generate_keys(fs.as_ref(), config, &KeyRequest::default())?;
    root_worker::initialize(&fs, config, now())?;
    Ok(())
}

/// The time.
pub fn now() -> UtcTime {
    SystemClock.now()
}

/// Opens the targets role.
///
/// # Errors
/// Whatever went wrong.
pub fn targets(config: &Config) -> Result<TargetsRole> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let layout = match config.number_of_bins {
        0 => Layout::Flat,
        count => Layout::Bins(BinLayout::new(count)?),
    };
    let policy = TargetsPolicy {
        layout,
        targets: repository::lifetime(&config.roles.targets),
        bins: repository::lifetime(&config.roles.bins),
        portable_names: config.target_names == TargetNames::Portable,
    };
    let trust = repository::trust(&fs, config, KeyRole::Targets)?;
    Ok(TargetsRole::new(
        repository::stores(&fs, config),
        trust,
        policy,
        repository::floor(&fs, config, WorkerRole::Targets)?,
    ))
}

/// Opens all three roles.
///
/// # Errors
/// Whatever went wrong.
pub fn roles(config: &Config) -> Result<Roles> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let snapshot = SnapshotRole::new(
        repository::stores(&fs, config),
        repository::trust(&fs, config, KeyRole::Snapshot)?,
        repository::lifetime(&config.roles.snapshot),
        repository::floor(&fs, config, WorkerRole::Snapshot)?,
    );
    let policy = TimestampPolicy {
        lifetime: repository::lifetime(&config.roles.timestamp),
        store_targets: config.store_targets,
    };
    let timestamp = TimestampRole::new(
        repository::stores(&fs, config),
        repository::trust(&fs, config, KeyRole::Timestamp)?,
        policy,
        repository::floor(&fs, config, WorkerRole::Timestamp)?,
    );
    Ok(Roles { targets: targets(config)?, snapshot, timestamp })
}

/// A request that adds `count` targets of made-up contents. Paths have 36 characters, as those of the peers.
///
/// # Errors
/// Never: the paths are good.
pub fn additions(prefix: &str, count: usize) -> Result<Submission> {
    let mut changes = Vec::with_capacity(count);
    for index in 0..count {
        let path: TargetPath = format!("{prefix:0>9}/package-{index:011}.tar.gz").parse()?;
        let entry = TargetEntry { length: 4096 + index as u64, sha256: Sha256::of(path.as_str().as_bytes()) };
        changes.push((path, TargetChange::Put(entry)));
    }
    Ok(Submission { request: format!("bench-{prefix}"), changes })
}
