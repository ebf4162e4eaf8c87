//! The inbound directory, shared with the targets-worker: staging directories, visible batches, and trash.
//!
//! ```text
//! .staging_INSTANCE_N  ->  batch_ID  ->  .trash_INSTANCE_N
//! ```

use std::io;
use std::path::{Path, PathBuf};

use durable_fs::Dir;
use durable_fs::durable::{self, WriteBatch};
use fleet::batch::Batch;

use crate::batch;
use crate::file_work::FileWork;
use crate::staging::SHARED_DIR_MODE;

/// Prefix of a directory in which a batch is put together.
pub(crate) const STAGING_PREFIX: &str = ".staging_";
/// Prefix of a directory that is out of use and yet to be removed.
pub(crate) const TRASH_PREFIX: &str = ".trash_";

/// A staging directory that is being filled. The targets-worker can write to the inbound directory, so it is held open.
pub(crate) struct StagingDir {
    pub(crate) path: PathBuf,
    pub(crate) dir: Box<dyn Dir>,
    /// Began before anything was written to it; it syncs all of it.
    pub(crate) writes: WriteBatch,
}

impl FileWork {
    /// Makes a staging directory.
    pub(crate) fn new_staging_dir(&self) -> io::Result<StagingDir> {
        let writes = WriteBatch::begin(&*self.fs, [self.settings.inbound.as_path()])?;
        loop {
            let number = self.memory().next_number();
            let path = self.settings.inbound.join(format!("{STAGING_PREFIX}{}_{number}", self.settings.instance));
            if durable::make_dir(&*self.fs, &path, SHARED_DIR_MODE)? {
                let dir = self.fs.open_dir(&path)?;
                return Ok(StagingDir { path, dir, writes });
            }
        }
    }

    /// Removes the staging directories that an earlier process of this instance left behind. Once per process, before the
    /// first staging.
    pub(crate) fn remove_own_staging(&self) {
        if std::mem::replace(&mut self.memory().own_staging_removed, true) {
            return;
        }
        let prefix = format!("{STAGING_PREFIX}{}_", self.settings.instance);
        let entries = self.fs.open_dir(&self.settings.inbound).and_then(|dir| dir.iter_entries());
        let Ok(entries) = entries else {
            // The directory is not mounted yet: try again in the next cycle.
            self.memory().own_staging_removed = false;
            return;
        };
        for entry in entries.map_while(Result::ok) {
            if entry.name.to_str().is_some_and(|name| name.starts_with(&prefix)) {
                self.remove_quietly(&self.settings.inbound.join(&entry.name));
            }
        }
    }

    /// Renames the staging directory to the batch's name, durably. Another monitor, or this one before a crash, may have
    /// made the same batch: then that one is used and ours is removed.
    pub(crate) fn make_visible(&self, staging: &Path, batch: &Batch) -> io::Result<()> {
        let target = self.settings.inbound.join(batch.dir_name());
        self.memory().in_flight = Some(batch.dir_name());
        loop {
            if durable::stat_if_there(&*self.fs, &target)?.is_some() {
                if batch::is_whole_in(&*self.fs, &target, batch)? {
                    self.remove_quietly(staging);
                    break;
                }
                self.move_to_trash(&target)?;
            }
            if durable::rename_dir(&*self.fs, staging, &target)? {
                break;
            }
        }
        self.fs.sync_dir(&self.settings.inbound)
    }

    /// Takes a batch directory out of use. A failure is only logged, because the directory is collected by age.
    pub(crate) fn discard_batch(&self, dir_name: &str) {
        if let Err(error) = self.move_to_trash(&self.settings.inbound.join(dir_name)) {
            tracing::warn!(batch.dir = dir_name, %error, "batch directory not moved to the trash; it will be removed by age");
        }
        self.memory().in_flight = None;
    }

    /// Takes a directory of the inbound directory out of use, so that no one sees it half removed.
    pub(crate) fn move_to_trash(&self, path: &Path) -> io::Result<()> {
        loop {
            let number = self.memory().next_number();
            let to = self.settings.inbound.join(format!("{TRASH_PREFIX}{}_{number}", self.settings.instance));
            if durable::stat_if_there(&*self.fs, &to)?.is_some() {
                continue;
            }
            match durable::rename_dir(&*self.fs, path, &to) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}
