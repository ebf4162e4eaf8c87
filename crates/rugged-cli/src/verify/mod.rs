//! Looking at a repository as clients do: with our own client, and with tough.

mod directory;
mod folder;
mod own;
mod tough;
mod web;

use std::path::{Path, PathBuf};

use durable_fs::{Fs, durable};
use fleet::Config;
use tuf_repository::roles::MAX_ROOT;

use crate::error::CliError;

pub use folder::{Folder, Location};
pub use own::{Opened, OwnClient, RoleState, open, roles};
pub use tough::{download_all, download_from};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Place {
    /// The metadata directory.
    pub metadata: PathBuf,
    /// The directory of target files; none if they are not stored.
    pub targets: Option<PathBuf>,
    /// The root file trust starts from.
    pub trusted_root: PathBuf,
}

impl Place {
    /// The repository a configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            metadata: config.metadata_path(),
            targets: config.store_targets.then(|| config.targets_path()),
            trusted_root: config.trusted_root.clone(),
        }
    }

    /// The bytes of the trusted root.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_root(&self, fs: &dyn Fs) -> Result<Vec<u8>, CliError> {
        durable::read_bounded(fs, &self.trusted_root, MAX_ROOT).map_err(|error| {
            CliError::reading(&self.trusted_root, &error)
                .hint("trust starts from a root: name one with --trusted-root, or make one with `rugged initialize`")
        })
    }
}

/// Whether `dir` is a directory, or a link to one.
#[must_use]
pub fn is_dir(fs: &dyn Fs, dir: &Path) -> bool {
    fs.stat(&dir.join(".")).is_ok()
}
