//! What the steps of a cycle share: the file system, the settings, the private state and a little memory.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use durable_fs::{Fs, durable};
use service::clock::Clock;

use crate::drop_dir::{DropDir, DropName, Listing};
use crate::intake::STAGING;
use crate::pause::PauseSwitch;
use crate::receipt::{Receipt, StateReceipts};
use crate::settings::Settings;

/// Prefix of a directory in the inbound directory that waits to be removed.
pub(crate) const TRASH: &str = ".trash_";

/// The synchronous half of the monitor: every file operation is here, and none of the waiting for other workers.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) receipts: StateReceipts,
    pub(crate) pause: PauseSwitch,
    memory: Mutex<Memory>,
    pub(crate) beat: Beat,
}

/// Called again and again during long file work; says whether to go on.
#[derive(Default)]
pub(crate) struct Beat(OnceLock<Box<dyn Fn() -> bool + Send + Sync>>);

impl Beat {
    /// Only the first one set is called.
    pub(crate) fn set(&self, beat: Box<dyn Fn() -> bool + Send + Sync>) {
        let _ = self.0.set(beat);
    }

    pub(crate) fn beat(&self) -> bool {
        self.0.get().is_none_or(|beat| beat())
    }
}

impl fmt::Debug for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beat")
    }
}

/// What is remembered between cycles. Losing it costs time, never a drop.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Most drops of the next batch, while a bad one is being looked for.
    pub(crate) cap: Option<usize>,
    /// Why drops are held back.
    pub(crate) held: BTreeMap<DropName, String>,
    /// How often a drop was found changing.
    pub(crate) changing: HashMap<DropName, u32>,
    /// Rejections in the journal, by drop name.
    pub(crate) rejections: HashMap<String, Receipt>,
    /// The batch directory in use.
    pub(crate) in_flight: Option<String>,
    /// Ready, processing and rejected directories when last listed.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Modification time of the oldest directory that waits, ready or taken in, when last listed, Unix seconds.
    pub(crate) oldest_waiting: Option<i64>,
    /// When receipts past their time were last looked for, Unix seconds.
    pub(crate) last_retention: Option<i64>,
    /// Drops that ended and whose directory could not be renamed yet, by that directory.
    stuck: HashMap<(OsString, (u64, u64)), Receipt>,
    cleaned: bool,
    number: u64,
}

impl Memory {
    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The drop ended and its directory cannot be renamed now: it is not work any more.
    pub(crate) fn stick(&mut self, drop: &DropDir, receipt: Receipt) {
        self.stuck.insert((drop.dir.clone(), drop.id), receipt);
    }

    /// Takes the stuck directories out of `processing`, with their receipts; those not there any more are forgotten.
    pub(crate) fn take_stuck(&mut self, processing: &mut Vec<DropDir>) -> Vec<(DropDir, Receipt)> {
        let mut stuck = std::mem::take(&mut self.stuck);
        let mut found = Vec::new();
        if !stuck.is_empty() {
            processing.retain(|drop| match stuck.remove(&(drop.dir.clone(), drop.id)) {
                Some(receipt) => {
                    found.push((drop.clone(), receipt));
                    false
                }
                None => true,
            });
        }
        found
    }
}

impl Core {
    pub(crate) fn open(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, settings: Settings) -> io::Result<Self> {
        if let Some(volume) = settings.state.parent() {
            // A volume that is not there must not be taken for an empty one.
            fs.stat(&volume.join("")).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}: mount or create it", volume.display()))
            })?;
        }
        durable::create_dir_all(&*fs, &settings.state, 0o700)?;
        let receipts = StateReceipts::open(&*fs, &settings.state)?;
        let pause = PauseSwitch::open(&*fs, &settings.state)?;
        let rejections = receipts.rejections(&*fs)?.into_iter().map(|r| (r.name.clone(), r)).collect();
        let memory = Mutex::new(Memory { rejections, ..Memory::default() });
        Ok(Self { fs, clock, settings, receipts, pause, memory, beat: Beat::default() })
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time as receipts show it.
    pub(crate) fn now(&self) -> String {
        self.clock.now().to_string()
    }

    pub(crate) fn count(&self, found: &Listing) {
        let counts = [
            ("ready", found.ready.len() as u64),
            ("processing", found.processing.len() as u64),
            ("rejected", found.rejected),
        ];
        let mut memory = self.memory();
        memory.counts = counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
        // What was taken in and does not get on waits as well; what ended and cannot be renamed does not.
        let ended = |drop: &DropDir| memory.stuck.contains_key(&(drop.dir.clone(), drop.id));
        let first = [found.processing.iter().find(|drop| !ended(drop)), found.ready.first()];
        memory.oldest_waiting = first.into_iter().flatten().map(|drop| drop.mtime.0).min();
    }

    /// Counts what there is now.
    pub(crate) fn recount(&self) -> io::Result<()> {
        let found = crate::drop_dir::list(&*self.fs, &self.settings.post, self.settings.any_case)?;
        self.count(&found);
        Ok(())
    }

    /// Removes what an earlier process of this name left half-staged. Once per process, before the first staging.
    pub(crate) fn collect_own_staging(&self) {
        if std::mem::replace(&mut self.memory().cleaned, true) {
            return;
        }
        let prefix = format!("{STAGING}{}_", self.settings.instance);
        let Ok(entries) = self.fs.read_dir(&self.settings.inbound) else {
            // The directory is not there yet: try again in the next cycle.
            self.memory().cleaned = false;
            return;
        };
        for entry in entries {
            if entry.name.to_str().is_some_and(|name| name.starts_with(&prefix)) {
                self.remove_quietly(&self.settings.inbound.join(&entry.name));
            }
        }
    }

    /// Removes a directory nobody needs. What cannot be removed now is found again by its name later.
    pub(crate) fn remove_quietly(&self, path: &Path) {
        if let Err(e) = durable::remove_tree(&*self.fs, path) {
            tracing::warn!(path = %path.display(), error = %e, "directory cannot be removed now");
        }
    }

    /// Takes a directory of the inbound directory out of use, so that it is never seen half removed.
    pub(crate) fn move_to_trash(&self, path: &Path) -> io::Result<()> {
        loop {
            let number = self.memory().next_number();
            let to = self.settings.inbound.join(format!("{TRASH}{}_{number}", self.settings.instance));
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
