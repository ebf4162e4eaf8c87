//! Downloading targets (specification §5.7).

use std::io::{Read as _, Write};

use super::error::ClientError;
use super::fetch::Fetch;
use super::read::open;
use super::verifying::Client;
use crate::names::TargetPath;
use crate::schema::TargetMeta;

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
        let meta = self.find_target(path)?.ok_or_else(|| ClientError::UnknownTarget { path: path.clone() })?;
        let location = match best_hash(&meta) {
            Some(hash) if self.chain.root().consistent_snapshot => path.hash_prefixed(&hash),
            _ => path.as_str().to_owned(),
        };
        let file = open(&self.targets, &location, meta.length)?
            .ok_or_else(|| ClientError::Missing { path: location.clone() })?;
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
        }
        if length < meta.length {
            return Err(ClientError::Length { path: location, found: length, expected: meta.length });
        }
        checker.finish().map_err(|error| ClientError::Hash { path: location, error })?;
        Ok(meta)
    }
}

/// The hash in the name of the file: sha256 if listed, because every publisher writes that name.
fn best_hash(meta: &TargetMeta) -> Option<String> {
    let listed = |wanted: &str| meta.hashes.iter().find(|(name, _)| *name == wanted).map(|(_, text)| text);
    listed("sha256").or_else(|| listed("sha512")).or_else(|| meta.hashes.iter().next().map(|(_, text)| text))
}
