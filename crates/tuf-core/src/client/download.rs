//! Downloading targets (specification §5.7).

use std::io::{Read as _, Write};
use std::path::PathBuf;

use super::error::ClientError;
use super::fetch::Fetch;
use super::target_directory::TargetDirectory;
use super::verifying::Client;
use crate::names::TargetPath;
use crate::schema::TargetMeta;

/// A verified target in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadedTarget {
    /// The file.
    pub file: PathBuf,
    /// The entry of the target.
    pub meta: TargetMeta,
    /// Whether the file was there already, with this content.
    pub reused: bool,
}

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// Downloads a target into memory.
    ///
    /// # Errors
    /// As [`Client::download_to`].
    pub fn download(&mut self, path: &TargetPath) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        self.download_to(path, &mut content)?;
        Ok(content)
    }

    /// Downloads a target, checks its length and every listed hash that can be checked, and returns its entry.
    ///
    /// Bytes are written as they arrive. After an error, do not trust the bytes written.
    ///
    /// # Errors
    /// [`ClientError::UnknownTarget`] if no role lists it; otherwise as [`Client::find_target`], and if the content
    /// is missing, differs from the listed one, or cannot be written.
    pub fn download_to(&mut self, path: &TargetPath, to: &mut dyn Write) -> Result<TargetMeta, ClientError> {
        let meta = self.listed_target(path)?;
        self.fetch_target(path, &meta, to, &mut |_| ())?;
        Ok(meta)
    }

    /// Downloads a target into a directory, unless its file is there already with the listed length and hashes. Reports the
    /// number of bytes received so far to `progress`.
    ///
    /// # Errors
    /// As [`Client::download_to`]. No new file is visible then.
    pub fn download_into(
        &mut self,
        path: &TargetPath,
        directory: &TargetDirectory,
        progress: &mut dyn FnMut(u64),
    ) -> Result<DownloadedTarget, ClientError> {
        let meta = self.listed_target(path)?;
        let unknown_hash = |error| ClientError::Hash { path: path.to_string(), error };
        let file = directory.path_of(path, &meta).map_err(unknown_hash)?;
        let reused = directory.holds(&file, &meta);
        if !reused {
            let failed = |error| ClientError::Write { path: path.clone(), error };
            directory.write(&file, failed, |to| self.fetch_target(path, &meta, to, progress))?;
        }
        Ok(DownloadedTarget { file, meta, reused })
    }

    fn listed_target(&mut self, path: &TargetPath) -> Result<TargetMeta, ClientError> {
        self.find_target(path)?.ok_or_else(|| ClientError::UnknownTarget { path: path.clone() })
    }

    fn fetch_target(
        &self,
        path: &TargetPath,
        meta: &TargetMeta,
        to: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ClientError> {
        // Without a hash that can be checked there is nothing to trust, and nothing to ask for.
        let hash = meta.hashes.file_name_hash();
        let hash = hash.map_err(|error| ClientError::Hash { path: path.to_string(), error })?;
        let location = if self.chain.root().consistent_snapshot && self.hash_prefixes {
            path.hash_prefixed(&hash)
        } else {
            path.as_str().to_owned()
        };
        let fetched = self.targets.fetch(&location, meta.length);
        let file = fetched.map_err(|error| ClientError::Fetch { path: location.clone(), error })?;
        let file = file.ok_or_else(|| ClientError::Missing { path: location.clone() })?;
        let mut file = file.take(meta.length.saturating_add(1));
        let mut checker = meta.hashes.checker();
        let (mut length, mut buffer) = (0u64, vec![0; 64 * 1024]);
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ClientError::Read { path: location, error }),
            };
            length += count as u64;
            if length > meta.length {
                return Err(ClientError::TooLarge { path: location, max: meta.length });
            }
            checker.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(|error| ClientError::Write { path: path.clone(), error })?;
            progress(length);
        }
        if length < meta.length {
            return Err(ClientError::Length { path: location, found: length, expected: meta.length });
        }
        checker.finish().map_err(|error| ClientError::Hash { path: location, error })
    }
}
