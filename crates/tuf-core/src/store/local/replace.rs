//! Files that are replaced, by bytes or by copies of other files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::durable::{self, TempFile, WriteBatch};

use super::super::error::StoreError;
use super::super::file::{CopyFile, ReplaceOptions};
use super::super::name::FileName;
use super::super::staged::copy_failed_in_store;
use super::directory::LocalStore;
use crate::sha256::{CopyError, FileDigest, HashingCopier};

/// Up to this many copies are synced one by one.
const SYNCED_SINGLY: usize = 4;

impl LocalStore {
    pub(super) fn replace_file(
        &self,
        name: &FileName,
        bytes: &[u8],
        options: ReplaceOptions,
    ) -> Result<(), StoreError> {
        let path = self.path(name);
        let replaced = self.temp(name.dir()).and_then(|mut temp| {
            temp.write_bytes(bytes)?;
            self.raise_mtime(&mut temp, &path, options)?;
            temp.sync()?;
            temp.persist_over(&path)?;
            durable::sync_dir(self.fs.as_ref(), &self.root.join(name.dir()))
        });
        replaced.map_err(|error| self.error("replace", name.as_str(), error))
    }

    pub(super) fn copy_files(&self, copies: &[CopyFile]) -> Result<Vec<FileDigest>, StoreError> {
        const DOING: &str = "copy";
        let fs = self.fs.as_ref();
        let dirs: BTreeSet<String> = copies.iter().map(|copy| copy.to.dir().to_owned()).collect();
        let in_root = |error| self.error(DOING, "", error);
        let batch = match copies.len() {
            0..=SYNCED_SINGLY => None,
            _ => {
                let paths: Vec<PathBuf> = dirs.iter().map(|dir| self.root.join(dir)).collect();
                let begin = || WriteBatch::begin(fs, paths.iter().map(PathBuf::as_path));
                Some(self.in_dirs(&dirs, begin).map_err(in_root)?)
            }
        };
        let mut written = Vec::with_capacity(copies.len());
        let mut copier = HashingCopier::new();
        for copy in copies {
            let from = copy.from.as_str();
            let opened = self.open_file(&copy.from).map_err(|error| self.error(DOING, from, error))?;
            let mut source = opened.ok_or_else(|| StoreError::NotFound { doing: DOING, name: from.to_owned() })?;
            let in_to = |error| self.error(DOING, copy.to.as_str(), error);
            let mut temp = self.temp(copy.to.dir()).map_err(in_to)?;
            let max = copy.expected.map_or(u64::MAX, |expected| expected.length);
            let digest = match copier.copy(&mut source, max, |piece| temp.write_bytes(piece)) {
                Err(CopyError::TooLong { .. }) => None,
                other => Some(other.map_err(|error| copy_failed_in_store(error, DOING, from))?),
            };
            let digest = digest
                .filter(|digest| copy.expected.is_none_or(|expected| expected == *digest))
                .ok_or_else(|| StoreError::Mismatch { doing: DOING, name: from.to_owned() })?;
            self.raise_mtime(&mut temp, &self.path(&copy.to), copy.options).map_err(in_to)?;
            match &batch {
                Some(batch) => temp.close_in(batch).map_err(in_to)?,
                None => temp.sync().map_err(in_to)?,
            }
            written.push((digest, temp));
        }
        let dirs: BTreeSet<PathBuf> = dirs.iter().map(|dir| self.root.join(dir)).collect();
        let dirs: BTreeSet<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        if let Some(batch) = &batch {
            batch.sync().map_err(in_root)?;
        }
        let mut digests = Vec::with_capacity(copies.len());
        for (copy, (digest, temp)) in copies.iter().zip(written) {
            let path = self.path(&copy.to);
            temp.persist_over(&path).map_err(|error| self.error(DOING, copy.to.as_str(), error))?;
            digests.push(digest);
        }
        durable::sync_dirs(fs, &dirs).map_err(in_root)?;
        Ok(digests)
    }

    /// Gives a temporary file a modification time above that of the file it will replace.
    fn raise_mtime(&self, temp: &mut TempFile<'_>, to: &Path, options: ReplaceOptions) -> io::Result<()> {
        let previous = durable::stat_if_there(self.fs.as_ref(), to)?.map(|stat| stat.mtime);
        if let Some(after) = previous.max(options.mtime_after) {
            let now = self.fs.stat(temp.path())?.mtime;
            if now <= after {
                temp.set_mtime(after.saturating_add(1))?;
            }
        }
        Ok(())
    }
}
