//! The floor: what a signing role has seen, kept on its own private volume.
//!
//! State below the floor is never signed, renewals included: a share restored to yesterday would otherwise make a role
//! sign versions that clients have already moved past, or sign away releases. The floor is raised after the file it
//! speaks of is durable, so a crash in between leaves it low, never high.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;

/// Since 2 with the newest role version and the time of the last signing.
const FORMAT: u32 = 2;
/// The name of a grant, beside `floor.json`.
const GRANT: &str = "recover.json";
const GRANT_FORMAT: u32 = 1;
const MAX_FILE: u64 = 64 << 10;

/// A record of the commit log, as a floor remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFloor {
    /// SHA-256 of the record.
    pub digest: Sha256,
    /// Its number.
    pub number: u64,
}

/// Versions below which a role never signs; 0 where nothing was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Root version.
    #[serde(default)]
    pub root: u64,
    /// Newest commit record.
    #[serde(default)]
    pub record: Option<RecordFloor>,
    /// Snapshot version.
    #[serde(default)]
    pub snapshot: u64,
    /// Timestamp version.
    #[serde(default)]
    pub timestamp: u64,
    /// Highest version of any role of the targets keys; 0 where it is not known.
    #[serde(default)]
    pub role_version: u64,
    /// When the role last signed, in seconds since the Unix epoch; 0 where it is not known.
    #[serde(default)]
    pub signed: i64,
}

/// The administrator's word that state below this floor, and no other, is to be gone on from.
#[derive(Serialize, Deserialize)]
struct Grant {
    format: u32,
    floor: Floor,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    floor: Floor,
}

/// Reads a file of ours. The format comes first: what a newer version wrote may not look like anything known here.
fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], newest: u32) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if format > newest {
        return Err(format!("it has format {format}, this version reads up to {newest}: upgrade this worker"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The floor cannot be read or written; the role must not sign.
#[derive(Debug, Error)]
pub enum FloorError {
    /// The volume failed.
    #[error("cannot {doing} the floor {path}: {source}")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is not one of ours or of a newer version.
    #[error("the floor {path} cannot be understood: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A floor in its file.
#[derive(Debug)]
pub struct FloorFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    floor: Option<Floor>,
}

impl FloorFile {
    /// Reads `floor.json` in `state`, a private directory of one role. None there means that the role has signed
    /// nothing yet (or that its volume was lost).
    ///
    /// # Errors
    /// [`FloorError`].
    pub fn open(fs: Arc<dyn Fs>, state: &Path) -> Result<Self, FloorError> {
        let path = state.join("floor.json");
        let shown = || path.display().to_string();
        let floor = match durable::read_bounded(fs.as_ref(), &path, MAX_FILE) {
            Ok(bytes) => {
                let file: File =
                    parse(&bytes, FORMAT).map_err(|reason| FloorError::Malformed { path: shown(), reason })?;
                Some(file.floor)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The directory itself must be there: a missing mount is not an empty floor.
                fs.stat(state).map_err(|source| FloorError::Io {
                    doing: "find the directory of",
                    path: shown(),
                    source,
                })?;
                None
            }
            Err(source) => return Err(FloorError::Io { doing: "read", path: shown(), source }),
        };
        Ok(Self { fs, path, floor })
    }

    /// The floor, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<Floor> {
        self.floor
    }

    /// Raises the floor; what would lower it is left as it is. Durable when it returns.
    ///
    /// # Errors
    /// [`FloorError::Io`]; the file then holds the old floor or the new one.
    pub fn raise(&mut self, change: impl FnOnce(&mut Floor)) -> Result<(), FloorError> {
        self.change(change, false)
    }

    /// Whether [`FloorFile::grant_recovery`] was called for the floor as it is. A grant for another floor is void: the
    /// state it was given for is not the one that is found now.
    ///
    /// # Errors
    /// [`FloorError`].
    pub fn recovery_granted(&self) -> Result<bool, FloorError> {
        let path = self.path.with_file_name(GRANT);
        let shown = || path.display().to_string();
        match durable::read_bounded(self.fs.as_ref(), &path, MAX_FILE) {
            Ok(bytes) => {
                let grant: Grant =
                    parse(&bytes, GRANT_FORMAT).map_err(|reason| FloorError::Malformed { path: shown(), reason })?;
                Ok(self.floor == Some(grant.floor))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FloorError::Io { doing: "read the grant to go on above", path: shown(), source }),
        }
    }

    /// Lets the role go on from state below this floor, above it, once. Durable when it returns; the worker may be
    /// running.
    ///
    /// # Errors
    /// [`FloorError::Io`]; [`FloorError::Malformed`] without a floor.
    pub fn grant_recovery(&self) -> Result<(), FloorError> {
        let path = self.path.with_file_name(GRANT);
        let shown = || path.display().to_string();
        let Some(floor) = self.floor else {
            let reason = "there is none, so nothing can be below it".to_owned();
            return Err(FloorError::Malformed { path: self.path.display().to_string(), reason });
        };
        let io = |source: io::Error| FloorError::Io { doing: "write the grant to go on above", path: shown(), source };
        let bytes = serde_json::to_vec(&Grant { format: GRANT_FORMAT, floor }).map_err(|error| io(error.into()))?;
        // Nothing in it is secret, and the worker may run as another user than the administrator.
        durable::replace(self.fs.as_ref(), &path, &bytes, 0o644).map_err(io)
    }

    /// Raises the floor to what was written above it, forgets a signing time in the future, and uses the grant up.
    ///
    /// # Errors
    /// As [`FloorFile::raise`].
    pub(crate) fn recovered(&mut self, now: UtcTime) -> Result<(), FloorError> {
        self.change(|floor| floor.signed = now.unix(), true)?;
        let path = self.path.with_file_name(GRANT);
        // Void already, unless only the clock was the matter and the same second was signed in before.
        durable::remove_file_if_there(self.fs.as_ref(), &path).map(drop).map_err(|source| FloorError::Io {
            doing: "remove the grant to go on above",
            path: path.display().to_string(),
            source,
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Floor), backwards: bool) -> Result<(), FloorError> {
        let old = self.floor.unwrap_or_default();
        let mut new = old;
        change(&mut new);
        new.root = new.root.max(old.root);
        new.snapshot = new.snapshot.max(old.snapshot);
        new.timestamp = new.timestamp.max(old.timestamp);
        new.role_version = new.role_version.max(old.role_version);
        if !backwards {
            new.signed = new.signed.max(old.signed);
        }
        if let Some(record) = old.record
            && new.record.is_none_or(|new| new.number < record.number)
        {
            new.record = Some(record);
        }
        if self.floor == Some(new) {
            return Ok(());
        }
        let io = |source: io::Error| FloorError::Io { doing: "write", path: self.path.display().to_string(), source };
        let bytes = serde_json::to_vec(&File { format: FORMAT, floor: new }).map_err(|error| io(error.into()))?;
        durable::replace(self.fs.as_ref(), &self.path, &bytes, 0o600).map_err(io)?;
        self.floor = Some(new);
        Ok(())
    }
}
