//! The file of a floor, and the grant to resume above it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use serde::{Deserialize, Serialize};
use tuf_core::time::UtcTime;

use super::error::FloorError;
use super::numbers::Floor;
use crate::numbered::is_reachable;

/// Format 2 added the highest role version and the time of the last signature.
const FLOOR_FORMAT: u32 = 2;
/// The name of a grant, beside `floor.json`.
const GRANT_FILE: &str = "recover.json";
const GRANT_FORMAT: u32 = 1;
const MAX_FLOOR_BYTES: u64 = 64 << 10;

/// An administrator's grant that the role may resume from a repository below exactly this floor.
#[derive(Serialize, Deserialize)]
struct RecoveryGrant {
    format: u32,
    floor: Floor,
}

#[derive(Serialize, Deserialize)]
struct FloorDocument {
    format: u32,
    floor: Floor,
}

/// Reads a floor or a grant. The format comes first: a file of a newer version may have any other shape.
fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8], newest: u32) -> Result<T, FloorError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let malformed = |source| FloorError::Malformed { path: path.to_path_buf(), source };
    let Format { format: found } = serde_json::from_slice(bytes).map_err(malformed)?;
    if found > newest {
        return Err(FloorError::NewerFormat { path: path.to_path_buf(), found, newest });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// The floor of one role, in its file.
#[derive(Debug)]
pub struct FloorFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    floor: Option<Floor>,
}

impl FloorFile {
    /// Reads `floor.json` in `state`, the private directory of one role. A role without the file has signed nothing yet, or
    /// has lost its volume.
    ///
    /// # Errors
    /// [`FloorError`].
    pub fn open(fs: Arc<dyn Fs>, state: &Path) -> Result<Self, FloorError> {
        let path = state.join("floor.json");
        let floor = match durable::read_bounded(fs.as_ref(), &path, MAX_FLOOR_BYTES) {
            Ok(bytes) => {
                let file: FloorDocument = parse(&path, &bytes, FLOOR_FORMAT)?;
                Some(file.floor)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Without the directory the mount is missing, and the floor is unknown.
                fs.stat(state).map_err(|source| FloorError::Io {
                    doing: "find the directory of the floor",
                    path: path.clone(),
                    source,
                })?;
                None
            }
            Err(source) => return Err(FloorError::Io { doing: "read the floor", path, source }),
        };
        Ok(Self { fs, path, floor })
    }

    /// The floor, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<Floor> {
        self.floor
    }

    /// Raises the floor. A number that would go down stays. Durable when it returns.
    ///
    /// # Errors
    /// [`FloorError::Io`]; the file then holds the old floor or the new one.
    pub fn raise(&mut self, change: impl FnOnce(&mut Floor)) -> Result<(), FloorError> {
        self.change(change, false)
    }

    /// Whether [`FloorFile::grant_recovery`] was called for the present floor. A grant for another floor is void, because
    /// it was given for another state of the repository.
    ///
    /// # Errors
    /// [`FloorError`].
    pub fn recovery_granted(&self) -> Result<bool, FloorError> {
        let path = self.path.with_file_name(GRANT_FILE);
        match durable::read_bounded(self.fs.as_ref(), &path, MAX_FLOOR_BYTES) {
            Ok(bytes) => {
                let grant: RecoveryGrant = parse(&path, &bytes, GRANT_FORMAT)?;
                Ok(self.floor == Some(grant.floor))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FloorError::Io { doing: "read the grant", path, source }),
        }
    }

    /// Lets the role resume once from a repository below this floor, with numbers above it. Durable when it returns. The
    /// worker may be running.
    ///
    /// # Errors
    /// [`FloorError::Io`]; [`FloorError::NoFloor`].
    pub fn grant_recovery(&self) -> Result<(), FloorError> {
        let path = self.path.with_file_name(GRANT_FILE);
        let Some(floor) = self.floor else {
            return Err(FloorError::NoFloor { path: self.path.clone() });
        };
        let io = |source: io::Error| FloorError::Io { doing: "write the grant", path: path.clone(), source };
        let bytes =
            serde_json::to_vec(&RecoveryGrant { format: GRANT_FORMAT, floor }).map_err(|error| io(error.into()))?;
        // The grant holds no secret, and the worker may run as another user than the administrator.
        durable::replace(self.fs.as_ref(), &path, &bytes, 0o644).map_err(io)
    }

    /// Raises the floor to the numbers of the recovery in `change`, forgets a signing time in the future, and uses the grant
    /// up. A number that no release can have reached goes down.
    ///
    /// # Errors
    /// As [`FloorFile::raise`].
    pub(crate) fn recovered(&mut self, now: UtcTime, change: impl FnOnce(&mut Floor)) -> Result<(), FloorError> {
        let signed = |floor: &mut Floor| {
            change(floor);
            floor.signed = now.unix();
        };
        self.change(signed, true)?;
        let path = self.path.with_file_name(GRANT_FILE);
        // The raised floor voids the grant, except where only the signing time changed and it is the same second.
        durable::remove_file_if_there(self.fs.as_ref(), &path).map(drop).map_err(|source| FloorError::Io {
            doing: "remove the grant",
            path: path.clone(),
            source,
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Floor), backwards: bool) -> Result<(), FloorError> {
        let mut old = self.floor.unwrap_or_default();
        let mut new = old;
        change(&mut new);
        if backwards {
            // Only an operator's grant leads here.
            for number in [&mut old.snapshot, &mut old.timestamp, &mut old.role_version] {
                if !is_reachable(*number) {
                    *number = 0;
                }
            }
            old.record = old.record.filter(|record| is_reachable(record.number));
        }
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
        let io = |source: io::Error| FloorError::Io { doing: "write the floor", path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&FloorDocument { format: FLOOR_FORMAT, floor: new })
            .map_err(|error| io(error.into()))?;
        durable::replace(self.fs.as_ref(), &self.path, &bytes, 0o600).map_err(io)?;
        self.floor = Some(new);
        Ok(())
    }
}
