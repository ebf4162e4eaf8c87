//! The file work of the monitor: every file operation, and none of the waiting for other workers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use durable_fs::{Fs, durable};
use service::clock::Clock;
use service::sync::lock;

use crate::drop_dir::{self, DropListing};
use crate::memory::CycleMemory;
use crate::pause::PauseSwitch;
use crate::progress_hook::ProgressHook;
use crate::receipt::StateReceipts;
use crate::settings::MonitorSettings;
use crate::staging::PathNumbers;

/// The synchronous half of the monitor. Its steps are in `intake`, `settle` and `tidy`.
#[derive(Debug)]
pub(crate) struct FileWork {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: MonitorSettings,
    pub(crate) receipts: StateReceipts,
    pub(crate) pause: PauseSwitch,
    pub(crate) progress: ProgressHook,
    /// The numbers of all paths in this process.
    pub(crate) path_numbers: PathNumbers,
    memory: Mutex<CycleMemory>,
}

/// A private volume that is not mounted.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}: mount or create it", volume.display())]
struct MissingVolume {
    volume: PathBuf,
    source: io::Error,
}

impl FileWork {
    pub(crate) fn open(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, settings: MonitorSettings) -> io::Result<Self> {
        if let Some(volume) = settings.state.parent() {
            // A missing volume must not be taken for an empty one.
            fs.stat(&volume.join(""))
                .map_err(|source| io::Error::new(source.kind(), MissingVolume { volume: volume.to_owned(), source }))?;
        }
        durable::create_dir_all(&*fs, &settings.state, 0o700)?;
        let receipts = StateReceipts::open(&*fs, &settings.state)?;
        let pause = PauseSwitch::open(&*fs, &settings.state)?;
        let rejections = receipts.rejections(&*fs)?.into_iter().map(|r| (r.name.clone(), r)).collect();
        let memory = Mutex::new(CycleMemory::new(rejections));
        let (progress, path_numbers) = (ProgressHook::default(), PathNumbers::default());
        Ok(Self { fs, clock, settings, receipts, pause, memory, progress, path_numbers })
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, CycleMemory> {
        lock(&self.memory)
    }

    /// The time as receipts show it.
    pub(crate) fn now(&self) -> String {
        self.clock.now().to_string()
    }

    /// Lists the drop directory, and updates the counts.
    pub(crate) fn recount(&self) -> io::Result<()> {
        let found = self.list()?;
        self.memory().count(&found);
        Ok(())
    }

    /// Lists the drop directory.
    pub(crate) fn list(&self) -> io::Result<DropListing> {
        let MonitorSettings { post, any_case, limits, .. } = &self.settings;
        drop_dir::list(&*self.fs, post, *any_case, limits.listed_drops)
    }

    /// Removes a directory that no one needs. If that fails, it is found again by its name later.
    pub(crate) fn remove_quietly(&self, path: &Path) {
        self.warn_if_kept(path, durable::remove_tree(&*self.fs, path));
    }

    /// Reports that a directory which no one needs was not removed.
    pub(crate) fn warn_if_kept(&self, path: &Path, removed: io::Result<()>) {
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "directory not removed; trying again later");
        }
    }
}
