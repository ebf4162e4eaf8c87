//! The paths of a repository on this machine.

use std::path::PathBuf;

use durable_fs::{Fs, durable};
use fleet::Config;
use tuf_core::root_chain::MAX_ROOT_BYTES;

use crate::error::CliError;

/// The paths of a repository on this machine, and of the root that clients start from.
#[derive(Clone, Debug)]
pub struct RepositoryPaths {
    /// The metadata directory.
    pub metadata: PathBuf,
    /// The directory of target files; `None` if the repository does not store them.
    pub targets: Option<PathBuf>,
    /// The trusted root file.
    pub trusted_root: PathBuf,
}

impl RepositoryPaths {
    /// The paths that a configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            metadata: config.metadata_path(),
            targets: config.store_targets.then(|| config.targets_path()),
            trusted_root: config.trusted_root.clone(),
        }
    }

    /// Reads the trusted root.
    ///
    /// # Errors
    /// When the file cannot be read or is too large.
    pub fn read_root(&self, fs: &dyn Fs) -> Result<Vec<u8>, CliError> {
        durable::read_bounded(fs, &self.trusted_root, MAX_ROOT_BYTES).map_err(|error| {
            CliError::reading(&self.trusted_root, error)
                .hint("name the trusted root with --trusted-root, or create one with `rugged initialize`")
        })
    }
}
