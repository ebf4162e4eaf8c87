//! The pause switch: whether the monitor takes drops in, kept durably in the private state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use durable_fs::{Fs, durable};
use fleet::contract::Processing;
use serde::{Deserialize, Serialize};
use service::sync::lock;

use crate::stored_format::{self, StoredFormatError};

const PAUSE_FORMAT: u64 = 1;
const MAX_PAUSE_BYTES: u64 = 64 << 10;
const MAX_REASON_CHARS: usize = 1000;

#[derive(Debug, Serialize, Deserialize)]
struct StoredPause {
    format: u64,
    paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

/// A pause file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct BadPauseFile {
    path: PathBuf,
    source: StoredFormatError,
}

/// Whether intake is paused. A pause stops intake only: drops already taken in are finished, and metadata is renewed.
#[derive(Debug)]
pub struct PauseSwitch {
    path: PathBuf,
    now: Mutex<Processing>,
}

impl PauseSwitch {
    /// Reads the switch below `state`; without the file, intake is not paused.
    ///
    /// # Errors
    /// `InvalidData` when the file is malformed or newer than this version: to continue could undo an operator's pause. Else
    /// the error from the file system.
    pub fn open(fs: &dyn Fs, state: &Path) -> io::Result<Self> {
        let path = state.join("pause.json");
        let now = match durable::read_bounded(fs, &path, MAX_PAUSE_BYTES) {
            Ok(bytes) => match stored_format::parse::<StoredPause>(&bytes, PAUSE_FORMAT) {
                Ok(stored) => Processing { paused: stored.paused, reason: stored.reason, since: stored.since },
                Err(source) => return Err(io::Error::new(io::ErrorKind::InvalidData, BadPauseFile { path, source })),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Processing::default(),
            Err(e) => return Err(e),
        };
        Ok(Self { path, now: Mutex::new(now) })
    }

    /// The state of the switch.
    pub fn get(&self) -> Processing {
        lock(&self.now).clone()
    }

    /// Sets the switch durably. If it is already so, nothing changes: the first reason and time are kept.
    ///
    /// # Errors
    /// The error from the file system; the switch is then unchanged.
    pub fn set(&self, fs: &dyn Fs, paused: bool, reason: Option<String>, since: String) -> io::Result<Processing> {
        let mut now = lock(&self.now);
        if now.paused != paused {
            let reason = reason.map(|text| text.chars().take(MAX_REASON_CHARS).collect::<String>());
            let next = Processing { paused, reason, since: Some(since) };
            let stored =
                StoredPause { format: PAUSE_FORMAT, paused, reason: next.reason.clone(), since: next.since.clone() };
            durable::replace(fs, &self.path, &serde_json::to_vec_pretty(&stored)?, 0o600)?;
            *now = next;
        }
        Ok(now.clone())
    }
}
