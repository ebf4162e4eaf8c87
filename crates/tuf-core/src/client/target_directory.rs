//! A directory of downloaded targets.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};

use crate::names::TargetPath;
use crate::schema::{HashError, TargetMeta};

const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// The name of a downloaded target below its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetFileNames {
    /// Its path, with sub-directories. A newer content replaces the older one.
    Paths,
    /// Its sha256 (else sha512) in hexadecimal. All contents are kept.
    Hashes,
}

/// A directory of downloaded targets, which is also a cache: a file is used again if it has the listed length and hashes.
///
/// A file is visible under its name only whole and verified: it is written under a temporary name (`.tmp-…`), synced and
/// renamed. A killed download leaves at most a temporary file. Only the caller may write to the directory.
#[derive(Debug, Clone)]
pub struct TargetDirectory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    names: TargetFileNames,
}

impl TargetDirectory {
    /// The directory `dir`, created when it is needed.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: impl Into<PathBuf>, names: TargetFileNames) -> Self {
        Self { fs, dir: dir.into(), names }
    }

    /// The file of a target, whether it is there or not.
    ///
    /// # Errors
    /// [`HashError::NoneKnown`] if the name is a hash, and neither sha256 nor sha512 is listed.
    pub fn path_of(&self, path: &TargetPath, meta: &TargetMeta) -> Result<PathBuf, HashError> {
        match self.names {
            TargetFileNames::Paths => Ok(self.dir.join(path.as_str())),
            TargetFileNames::Hashes => meta.hashes.file_name_hash().map(|hash| self.dir.join(hash)),
        }
    }

    /// Whether the file of a target is there, with the listed length and hashes. All of it is read.
    #[must_use]
    pub fn holds(&self, file: &Path, meta: &TargetMeta) -> bool {
        self.is_listed(file, meta).unwrap_or(false)
    }

    fn is_listed(&self, path: &Path, meta: &TargetMeta) -> io::Result<bool> {
        let mut file = self.fs.open(path)?;
        if file.stat()?.len != meta.length {
            return Ok(false);
        }
        let mut checker = meta.hashes.checker();
        let (mut left, mut buffer) = (meta.length, vec![0; 64 * 1024]);
        loop {
            let count = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let Some(rest) = left.checked_sub(count as u64) else { return Ok(false) };
            if count == 0 {
                return Ok(rest == 0 && checker.finish().is_ok());
            }
            left = rest;
            checker.update(&buffer[..count]);
        }
    }

    /// Writes a file that `write` fills and verifies; nothing is visible if it fails.
    pub(super) fn write<E>(
        &self,
        path: &Path,
        failed: impl Fn(io::Error) -> E,
        write: impl FnOnce(&mut dyn io::Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let dir = path.parent().unwrap_or(&self.dir);
        durable::create_dir_all(self.fs.as_ref(), dir, DIR_MODE).map_err(&failed)?;
        let mut temp = durable::TempFile::new(self.fs.as_ref(), dir, FILE_MODE).map_err(&failed)?;
        write(&mut temp)?;
        temp.sync().map_err(&failed)?;
        temp.persist_over(path).map_err(&failed)?;
        durable::sync_dir(self.fs.as_ref(), dir).map_err(&failed)
    }
}
