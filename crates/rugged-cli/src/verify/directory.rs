//! Files below a directory, for both clients.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use durable_fs::{DirEntry, Fs, ReadFile};

/// A directory that files are read from, never outside of it and never through a link.
#[derive(Clone, Debug)]
pub struct Directory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Directory {
    /// The directory `dir`.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self { fs, dir }
    }

    /// Opens the file at `path`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or the directory itself is not there: that says nothing about the file.
    pub fn open(&self, path: &str) -> io::Result<Option<Box<dyn ReadFile>>> {
        let relative = Path::new(path);
        if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{path:?} leaves the directory")));
        }
        match self.fs.open_beneath(&self.dir, relative) {
            Ok(file) => Ok(Some(file)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if super::is_dir(self.fs.as_ref(), &self.dir) {
                    Ok(None)
                } else {
                    Err(io::Error::new(error.kind(), format!("{} is not there", self.dir.display())))
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What is in the directory itself.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn list(&self) -> io::Result<Vec<DirEntry>> {
        // The directory itself may be a link.
        self.fs.read_dir(&self.dir.join(""))
    }
}
