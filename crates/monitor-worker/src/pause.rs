//! Whether drops are taken in: a durable switch in the private state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use durable_fs::{Fs, durable};
use fleet::contract::Processing;
use serde::{Deserialize, Serialize};

const FORMAT: u64 = 1;
const MAX_BYTES: u64 = 64 << 10;
const MAX_REASON_CHARS: usize = 1000;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u64,
    paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

/// The switch. Pausing stops intake only: what was taken in is finished, and metadata is renewed.
#[derive(Debug)]
pub struct PauseSwitch {
    path: PathBuf,
    now: Mutex<Processing>,
}

impl PauseSwitch {
    /// Reads the switch below `state`; a missing file means that drops are taken in.
    ///
    /// # Errors
    /// `InvalidData` when the file cannot be understood: going on would undo a pause somebody relies on.
    pub fn open(fs: &dyn Fs, state: &Path) -> io::Result<Self> {
        let path = state.join("pause.json");
        let now = match durable::read_bounded(fs, &path, MAX_BYTES) {
            Ok(bytes) => parse(&bytes).map_err(|reason| {
                let message = format!("{}: {reason}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Processing::default(),
            Err(e) => return Err(e),
        };
        Ok(Self { path, now: Mutex::new(now) })
    }

    /// How the switch stands.
    pub fn get(&self) -> Processing {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the switch durably. Setting it as it stands changes nothing, so that the first reason and time are kept.
    ///
    /// # Errors
    /// Whatever the file system said; the switch then stands as before.
    pub fn set(&self, fs: &dyn Fs, paused: bool, reason: Option<String>, since: String) -> io::Result<Processing> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.paused != paused {
            let reason = reason.map(|text| text.chars().take(MAX_REASON_CHARS).collect::<String>());
            let next = Processing { paused, reason, since: Some(since) };
            let stored = Stored { format: FORMAT, paused, reason: next.reason.clone(), since: next.since.clone() };
            durable::replace(fs, &self.path, &serde_json::to_vec_pretty(&stored)?, 0o600)?;
            *now = next;
        }
        Ok(now.clone())
    }
}

fn parse(bytes: &[u8]) -> Result<Processing, String> {
    crate::format::check(bytes, FORMAT).map_err(|e| e.to_string())?;
    let stored: Stored = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(Processing { paused: stored.paused, reason: stored.reason, since: stored.since })
}
