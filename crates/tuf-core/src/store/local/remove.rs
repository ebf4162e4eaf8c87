//! Removal of files: by name, by age, and temporary ones.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use durable_fs::FileKind;
use durable_fs::durable::{self, TempFile, is_temp_name};

use super::super::error::StoreError;
use super::super::name::FileName;
use super::directory::LocalStore;
use crate::names::MAX_COMPONENT_BYTES;

/// Prefix of a file that is being removed for its age. It begins like temporary names, so that no listing shows it.
const LEAVING: &str = ".tmp-old-";

impl LocalStore {
    pub(super) fn remove_files(&self, names: &[FileName]) -> Result<(), StoreError> {
        const DOING: &str = "remove";
        let fs = self.fs.as_ref();
        let mut result = self.nothing(()).map_err(|error| self.error(DOING, "", error));
        let mut dirs = BTreeSet::new();
        for name in names {
            match durable::remove_file_if_there(fs, &self.path(name)) {
                Ok(_) => drop(dirs.insert(self.root.join(name.dir()))),
                Err(error) if error.kind() == ErrorKind::NotADirectory => {}
                Err(error) => result = result.and(Err(self.error(DOING, name.as_str(), error))),
            }
        }
        // Missing names may have been removed by a process that died before it synced.
        let dirs: BTreeSet<&Path> =
            dirs.iter().map(PathBuf::as_path).filter(|dir| fs.stat(&dir.join(".")).is_ok()).collect();
        result.and(durable::sync_dirs(fs, &dirs).map_err(|error| self.error(DOING, "", error)))
    }

    pub(super) fn remove_older_files(&self, names: &[FileName], before: i64) -> Result<u64, StoreError> {
        const DOING: &str = "remove";
        let mut result = self.nothing(()).map_err(|error| self.error(DOING, "", error));
        let (mut removed, mut dirs) = (0_u64, BTreeSet::new());
        if names.is_empty() {
            return result.map(|()| 0);
        }
        let owner = TempFile::new(self.fs.as_ref(), &self.root.join(""), self.file_mode)
            .and_then(|temp| self.fs.stat(temp.path()))
            .map_err(|error| self.error(DOING, "", error))?
            .uid;
        for name in names {
            match self.remove_if_older(&self.path(name), before, owner) {
                Ok(gone) => {
                    removed += u64::from(gone);
                    dirs.insert(name.dir());
                }
                Err(error) => result = result.and(Err(self.error(DOING, name.as_str(), error))),
            }
        }
        for dir in dirs.iter().filter(|dir| !dir.is_empty()) {
            self.remove_empty(dir);
        }
        let paths: BTreeSet<PathBuf> = dirs.iter().map(|dir| self.root.join(dir)).collect();
        let there: BTreeSet<&Path> =
            paths.iter().map(PathBuf::as_path).filter(|dir| self.fs.stat(&dir.join(".")).is_ok()).collect();
        let synced = durable::sync_dirs(self.fs.as_ref(), &there).map_err(|error| self.error(DOING, "", error));
        result.and(synced).map(|()| removed)
    }

    pub(super) fn remove_stale_files(&self, dir: &str, before: i64) -> Result<u64, StoreError> {
        const DOING: &str = "remove temporary files in";
        let path = self.dir_path(dir)?;
        let entries = self.there(durable::retry_stale(|| self.fs.read_dir(&path)));
        let entries = entries.map_err(|error| self.error(DOING, dir, error))?.unwrap_or_default();
        let mut removed = 0_u64;
        for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::File && is_temp_name(&entry.name)) {
            let temp = path.join(&entry.name);
            if let Some(name) = entry.name.to_str().and_then(|name| name.strip_prefix(LEAVING)) {
                match self.put_back(&temp, &path.join(name)) {
                    // Another owner's file; its owner will.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                    other => other.map_err(|error| self.error(DOING, dir, error))?,
                }
                continue;
            }
            if self.fs.stat(&temp).is_ok_and(|stat| stat.mtime < before)
                && durable::remove_file_if_there(self.fs.as_ref(), &temp).is_ok_and(|was| was)
            {
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    /// Removes a file unless it is newer. No file system removes on a condition, so the file is first renamed aside. If
    /// it is new by then, another writer found it before the rename, and it gets its name back; a writer that looks
    /// later does not find it and creates it again.
    ///
    /// Only files of `owner`, this process, are removed: a writer cannot refresh the time of another owner's file, so
    /// that file stays.
    fn remove_if_older(&self, path: &Path, before: i64, owner: u32) -> io::Result<bool> {
        let fs = self.fs.as_ref();
        let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let mut aside = OsString::from(LEAVING);
        aside.push(base);
        // Longer names cannot be taken aside; they stay.
        if aside.len() > MAX_COMPONENT_BYTES {
            return Ok(false);
        }
        let aside = dir.join(aside);
        match durable::stat_if_there(fs, path)? {
            Some(stat) if stat.kind == FileKind::File && stat.mtime < before && stat.uid == owner => {}
            _ => return Ok(false),
        }
        match durable::rename_over(fs, path, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        // Opened, because an NFS client answers `stat` from its cache.
        let old = durable::retry_stale(|| fs.open(&aside).and_then(|file| file.stat())).map(|stat| stat.mtime < before);
        if !old.as_ref().is_ok_and(|old| *old) {
            self.put_back(&aside, path)?;
            return old;
        }
        durable::remove_file_if_there(fs, &aside)
    }

    fn put_back(&self, aside: &Path, path: &Path) -> io::Result<()> {
        match durable::link_new(self.fs.as_ref(), aside, path) {
            // Another process put it back.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => durable::remove_file_if_there(self.fs.as_ref(), aside).map(drop),
        }
    }

    /// Removes `dir` and those above it, below the root, as far as they are empty.
    fn remove_empty(&self, dir: &str) {
        let mut dir = dir;
        while !dir.is_empty() && self.fs.remove_dir(&self.root.join(dir)).is_ok() {
            self.known().remove(Path::new(dir));
            dir = dir.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}
