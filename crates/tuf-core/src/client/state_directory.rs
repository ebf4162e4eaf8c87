//! The state of a client in a directory.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, LockGuard, durable};

use crate::names::{RoleName, TopRole};
use crate::root_chain::{RootChain, RootError};
use crate::schema::Snapshot;
use crate::sha256::Sha256;

const LOCK: &str = ".lock";
/// Holds the hash of a root that changes the keys of timestamp or snapshot, while their files are being removed.
const FORGETTING: &str = ".forgetting";
const MAX_FORGETTING_BYTES: u64 = 64;
/// Largest root whose hash is computed after a crash, in bytes.
const MAX_ROOT_IN_STATE: u64 = 64 << 20;
/// Longest file name: the limit of common file systems, less room for temporary names.
const MAX_NAME_BYTES: usize = 240;
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// A client's state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another client uses the directory.
    #[error("another client uses the state in {}; wait until it ends, or use another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no trusted root to start from.
    #[error("{} holds no trusted root; initialize it with a root file that you trust", dir.display())]
    NoRoot {
        /// The directory.
        dir: PathBuf,
    },
    /// The trusted root to start from is invalid.
    #[error("the trusted root is invalid: {0}")]
    InvalidRoot(#[from] RootError),
    /// The file system failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// The action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
}

/// The files that a client trusts, in a directory of its own: `root.json`, `timestamp.json`, `snapshot.json`, and `ROLE.json`
/// for each targets role that was needed. Role names are percent-encoded. Only the caller may write to it: trust starts at its
/// `root.json`.
///
/// - The directory is locked as long as this value lives, against other clients of any process.
/// - Each file is replaced whole: after a crash it holds the old bytes or the new ones. Root, timestamp and snapshot are
///   durable when a call that changed them returns, so no version that was trusted once decreases after a power cut.
/// - Nothing in it is trusted because it is there: the client verifies each file again. A damaged file counts as missing,
///   except that `root.json` must be there.
pub struct StateDirectory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    _lock: Box<dyn LockGuard>,
}

impl std::fmt::Debug for StateDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDirectory").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl StateDirectory {
    /// Opens the directory `dir`, creates it if it is missing, and locks it. Waits up to `wait` for another client.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another client has it; [`StateError::Io`] if the file system fails, or cannot lock.
    pub fn open(fs: Arc<dyn Fs>, dir: impl Into<PathBuf>, wait: Duration) -> Result<Self, StateError> {
        let dir = dir.into();
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| StateError::Io { action, path, error }
        };
        durable::create_dir_all(fs.as_ref(), &dir, DIR_MODE).map_err(failed("create", &dir))?;
        let lock = dir.join(LOCK);
        let lock = match fs.lock(&lock, wait) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(StateError::InUse { dir }),
            Err(error) => return Err(failed("lock", &lock)(error)),
        };
        let state = Self { fs, dir, _lock: lock };
        state.finish_forgetting()?;
        state.remove_temporary_files();
        Ok(state)
    }

    /// Makes `trusted_root` the root that the client starts from, unless the directory has one already: `false`. That one was
    /// verified from the first, so it is newer.
    ///
    /// # Errors
    /// [`StateError::InvalidRoot`] if it is no root metadata of at most `max_bytes`, signed by its own keys;
    /// [`StateError::Io`].
    pub fn initialize(&self, trusted_root: &[u8], max_bytes: u64) -> Result<bool, StateError> {
        if self.has_root()? {
            return Ok(false);
        }
        RootChain::from_pinned_within(trusted_root, max_bytes)?;
        let path = self.path_of(&RoleName::root());
        self.replace(&path, trusted_root)?;
        Ok(true)
    }

    /// Whether the directory has a root to start from.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn has_root(&self) -> Result<bool, StateError> {
        let path = self.path_of(&RoleName::root());
        let found = durable::stat_if_there(self.fs.as_ref(), &path);
        Ok(found.map_err(|error| StateError::Io { action: "read", path, error })?.is_some())
    }

    /// The root file, of at most `max` bytes.
    pub(super) fn root(&self, max: u64) -> Result<Vec<u8>, StateError> {
        let path = self.path_of(&RoleName::root());
        match durable::read_bounded(self.fs.as_ref(), &path, max) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StateError::NoRoot { dir: self.dir.clone() }),
            Err(error) => Err(StateError::Io { action: "read", path, error }),
        }
    }

    /// The file of another role; `None` if it is missing, is larger than `max`, or is no regular file.
    pub(super) fn read(&self, role: &RoleName, max: u64) -> Result<Option<Vec<u8>>, StateError> {
        let Some(path) = self.path_of_role(role) else { return Ok(None) };
        match durable::read_bounded(self.fs.as_ref(), &path, max) {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_damage(error.kind()) => Ok(None),
            Err(error) => Err(StateError::Io { action: "read", path, error }),
        }
    }

    /// Replaces the root. With `keys_changed`, timestamp and snapshot are removed in the same step, even if a crash interrupts
    /// it (specification §5.3.11).
    pub(super) fn save_root(&mut self, file: &[u8], keys_changed: bool) -> Result<(), StateError> {
        if keys_changed {
            self.replace(&self.dir.join(FORGETTING), Sha256::of(file).to_string().as_bytes())?;
        }
        self.replace(&self.path_of(&RoleName::root()), file)?;
        if keys_changed { self.forget() } else { Ok(()) }
    }

    /// Replaces the timestamp or the snapshot, durably.
    pub(super) fn save(&mut self, role: &RoleName, file: &[u8]) -> Result<(), StateError> {
        self.replace(&self.path_of(role), file)
    }

    /// Replaces a targets role. A power cut may undo it: the file then counts as damaged, and is fetched again.
    pub(super) fn save_role(&mut self, role: &RoleName, file: &[u8]) -> Result<(), StateError> {
        let Some(path) = self.path_of_role(role) else { return Ok(()) };
        let written = durable::TempFile::new(self.fs.as_ref(), &self.dir, FILE_MODE).and_then(|mut temp| {
            temp.write_bytes(file)?;
            temp.persist_over(&path)
        });
        written.map_err(|error| StateError::Io { action: "write", path, error })
    }

    /// Removes the files of targets roles that the snapshot does not list. A file that cannot be removed only wastes space.
    pub(super) fn drop_unlisted(&self, snapshot: &Snapshot) {
        let listed: HashSet<String> = snapshot.meta.keys().filter_map(file_name).collect();
        let top = TopRole::ALL.map(|role| format!("{role}.json"));
        for entry in self.fs.read_dir(&self.dir.join("")).unwrap_or_default() {
            let Some(name) = entry.name.to_str() else { continue };
            if name.ends_with(".json") && !listed.contains(name) && !top.iter().any(|top| top == name) {
                let _ = self.fs.remove_file(&self.dir.join(name));
            }
        }
    }

    /// Completes the removal that a crash interrupted.
    fn finish_forgetting(&self) -> Result<(), StateError> {
        let path = self.dir.join(FORGETTING);
        let noted = match durable::read_bounded(self.fs.as_ref(), &path, MAX_FORGETTING_BYTES) {
            Ok(noted) => noted,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if is_damage(error.kind()) => Vec::new(),
            Err(error) => return Err(StateError::Io { action: "read", path, error }),
        };
        let root = self.path_of(&RoleName::root());
        match durable::read_bounded(self.fs.as_ref(), &root, MAX_ROOT_IN_STATE) {
            Ok(root) if Sha256::of(&root).to_string().as_bytes() == noted => self.forget(),
            // The new root was not written, so the old files still belong to the old one.
            _ => self.remove(&path),
        }
    }

    fn forget(&self) -> Result<(), StateError> {
        self.remove(&self.path_of(&RoleName::timestamp()))?;
        self.remove(&self.path_of(&RoleName::snapshot()))?;
        let synced = durable::sync_dir(self.fs.as_ref(), &self.dir);
        synced.map_err(|error| StateError::Io { action: "sync", path: self.dir.clone(), error })?;
        self.remove(&self.dir.join(FORGETTING))
    }

    /// The lock is held, so they belong to processes that died.
    fn remove_temporary_files(&self) {
        for entry in self.fs.read_dir(&self.dir.join("")).unwrap_or_default() {
            if durable::is_temp_name(&entry.name) {
                let _ = self.fs.remove_file(&self.dir.join(entry.name));
            }
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        durable::replace(self.fs.as_ref(), path, bytes, FILE_MODE).map_err(|error| StateError::Io {
            action: "write",
            path: path.to_owned(),
            error,
        })
    }

    fn remove(&self, path: &Path) -> Result<(), StateError> {
        let removed = durable::remove_file_if_there(self.fs.as_ref(), path).map(drop);
        removed.map_err(|error| StateError::Io { action: "remove", path: path.to_owned(), error })
    }

    /// The path of a top-level role.
    fn path_of(&self, role: &RoleName) -> PathBuf {
        self.dir.join(format!("{role}.json"))
    }

    /// The path of any role; `None` if its name is too long for a file name.
    fn path_of_role(&self, role: &RoleName) -> Option<PathBuf> {
        file_name(role).map(|name| self.dir.join(name))
    }
}

/// The file name of a role; `None` if it is too long. No name begins with a dot.
fn file_name(role: &RoleName) -> Option<String> {
    let encoded = role.percent_encoded();
    let name = match encoded.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}.json"),
        None => format!("{encoded}.json"),
    };
    (name.len() <= MAX_NAME_BYTES).then_some(name)
}

/// Errors that say that a file is missing, or is no file of ours.
fn is_damage(kind: ErrorKind) -> bool {
    use ErrorKind::{FileTooLarge, InvalidInput, IsADirectory, NotFound};
    matches!(kind, NotFound | FileTooLarge | InvalidInput | IsADirectory)
}
