//! A directory on this machine that both clients read from.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use durable_fs::{DirEntry, Fs, ReadFile};

/// A directory on this machine. Files are never read outside of it, and never through a link.
#[derive(Clone, Debug)]
pub struct LocalDirectory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl LocalDirectory {
    /// The directory `dir`.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self { fs, dir }
    }

    /// Opens the file at `path`; `None` when it does not exist.
    ///
    /// # Errors
    /// When the file cannot be opened, or the directory itself does not exist: then the file may exist elsewhere.
    pub fn open(&self, path: &str) -> io::Result<Option<Box<dyn ReadFile>>> {
        let relative = Path::new(path);
        if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("the path {path:?} leaves the directory")));
        }
        match self.fs.open_beneath(&self.dir, relative) {
            Ok(file) => Ok(Some(file)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if is_directory(self.fs.as_ref(), &self.dir) {
                    Ok(None)
                } else {
                    Err(io::Error::new(error.kind(), format!("the directory {} does not exist", self.dir.display())))
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Lists the directory, without its sub-directories.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn list(&self) -> io::Result<Vec<DirEntry>> {
        // The trailing slash follows a link to the directory.
        self.fs.read_dir(&self.dir.join(""))
    }
}

/// Whether `dir` is a directory, or a link to one.
#[must_use]
pub fn is_directory(fs: &dyn Fs, dir: &Path) -> bool {
    fs.stat(&dir.join(".")).is_ok()
}
