//! The [`Store`] that a directory is.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::time::Duration;

use durable_fs::durable;
use durable_fs::{FileKind, LockGuard};

use super::super::contract::Store;
use super::super::error::StoreError;
use super::super::file::{CopyFile, Created, FileStat, NewFile, ReplaceOptions};
use super::super::name::FileName;
use super::super::staged::{StagedStream, StagedTail};
use super::directory::LocalStore;
use crate::sha256::FileDigest;

impl Store for LocalStore {
    fn create_all(&self, files: Vec<NewFile<'_>>) -> Result<Vec<Created>, StoreError> {
        self.create_files(files)
    }

    fn replace(&self, name: &FileName, bytes: &[u8], options: ReplaceOptions) -> Result<(), StoreError> {
        self.replace_file(name, bytes, options)
    }

    fn copy_all(&self, copies: &[CopyFile]) -> Result<Vec<FileDigest>, StoreError> {
        self.copy_files(copies)
    }

    fn read(&self, name: &FileName, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.there(durable::read_bounded(self.fs.as_ref(), &self.path(name), max)) {
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                Err(StoreError::TooLarge { doing: "read", name: name.as_str().to_owned(), max })
            }
            other => other.map_err(|error| self.error("read", name.as_str(), error)),
        }
    }

    fn open(&self, name: &FileName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let file = self.open_file(name).map_err(|error| self.error("open", name.as_str(), error))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    fn stat(&self, name: &FileName) -> Result<Option<FileStat>, StoreError> {
        let path = self.path(name);
        let stat = self.there(durable::retry_stale(|| self.fs.stat(&path)));
        let stat = stat.map_err(|error| self.error("stat", name.as_str(), error))?;
        Ok(stat.filter(|stat| stat.kind == FileKind::File).map(|stat| FileStat { len: stat.len, mtime: stat.mtime }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.entries(dir, FileKind::File)
    }

    fn list_dirs(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.entries(dir, FileKind::Dir)
    }

    fn remove(&self, names: &[FileName]) -> Result<(), StoreError> {
        self.remove_files(names)
    }

    fn remove_older(&self, names: &[FileName], before: i64) -> Result<u64, StoreError> {
        self.remove_older_files(names, before)
    }

    fn stage(&self, dir: &str, reader: &mut dyn Read, max: u64) -> Result<StagedStream, StoreError> {
        self.stage_stream(dir, reader, max)
    }

    fn stage_tail(&self, dir: &str, head: usize, pieces: &[&[u8]]) -> Result<StagedTail, StoreError> {
        self.stage_file_tail(dir, head, pieces)
    }

    fn remove_stale(&self, dir: &str, before: i64) -> Result<u64, StoreError> {
        self.remove_stale_files(dir, before)
    }

    fn lock(&self, name: &FileName, wait: Duration) -> Result<Box<dyn LockGuard>, StoreError> {
        let dirs = BTreeSet::from([name.dir().to_owned()]);
        self.in_dirs(&dirs, || self.fs.lock(&self.path(name), wait))
            .map_err(|error| self.error("lock", name.as_str(), error))
    }
}
