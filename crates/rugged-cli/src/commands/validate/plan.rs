//! The subject of one run of `rugged validate`: directories, trusted root and time.

use std::path::Path;

use durable_fs::{Fs, durable};
use fleet::Config;
use service::clock::{Clock as _, SystemClock};
use tuf_core::audit::AuditCeilings;
use tuf_core::time::UtcTime;

use super::args::ValidateArgs;
use crate::error::CliError;
use crate::verify::RepositoryLocation;

/// The directories, the trusted root and the time that one run checks.
pub struct ValidationPlan {
    /// The metadata directory.
    pub metadata: RepositoryLocation,
    /// The directory of target files; `None` to skip them.
    pub targets: Option<RepositoryLocation>,
    /// The path and the bytes of the trusted root; `None` to trust the repository's oldest root.
    pub trusted_root: Option<(String, Vec<u8>)>,
    /// The time for the expiry checks.
    pub at: UtcTime,
    /// Whether `at` is the current time.
    pub at_now: bool,
}

impl ValidationPlan {
    /// Combines the arguments with the configuration, and reads the trusted root.
    ///
    /// # Errors
    /// When the trusted root cannot be read.
    pub fn new(config: &Config, args: ValidateArgs, fs: &dyn Fs) -> Result<Self, CliError> {
        let foreign = args.metadata.is_some();
        Ok(Self {
            targets: match args.targets {
                None if !foreign && config.store_targets => Some(RepositoryLocation::Path(config.targets_path())),
                named => named,
            },
            // The pinned root does not belong to a foreign repository.
            trusted_root: match &args.trusted_root {
                Some(path) => Some(read_root(fs, path)?),
                None if foreign => None,
                None => Some(read_root(fs, &config.trusted_root)?),
            },
            metadata: args.metadata.unwrap_or_else(|| RepositoryLocation::Path(config.metadata_path())),
            at_now: args.at.is_none(),
            at: args.at.unwrap_or_else(|| SystemClock.now()),
        })
    }
}

fn read_root(fs: &dyn Fs, path: &Path) -> Result<(String, Vec<u8>), CliError> {
    // The audit reports a root that is too large.
    let bytes = durable::read_bounded(fs, path, AuditCeilings::default().root_bytes).map_err(|error| {
        CliError::reading(path, error)
            .hint("name the trusted root with --trusted-root, or create one with `rugged initialize`")
    })?;
    Ok((path.display().to_string(), bytes))
}
