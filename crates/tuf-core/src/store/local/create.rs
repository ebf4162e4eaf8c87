//! New files: streams staged in temporary files, and the batch that gets its names.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_fs::durable::{self, ByteSource, CreateOutcome, FileToCreate};

use super::super::error::StoreError;
use super::super::file::{Created, FileContent, NewFile};
use super::super::name::FileName;
use super::super::staged::{StagedStream, StagedTail, copy_failed_from_source};
use super::directory::LocalStore;
use super::staged_path::StagedPath;
use crate::sha256::HashingCopier;

/// Staged files whose descriptor is kept, so that a small batch is synced file by file instead of by `syncfs`.
const OPEN_STAGED: usize = 16;
/// A tail of this length is synced before its first bytes are known, so that little remains to sync afterwards.
const SYNCED_EARLY: usize = 256 << 10;

impl LocalStore {
    pub(super) fn create_files(&self, mut files: Vec<NewFile<'_>>) -> Result<Vec<Created>, StoreError> {
        const DOING: &str = "create";
        let dirs: BTreeSet<String> = files.iter().flat_map(|f| &f.names).map(|name| name.dir().to_owned()).collect();
        let paths: Vec<Vec<PathBuf>> =
            files.iter().map(|file| file.names.iter().map(|name| self.path(name)).collect()).collect();
        let label = match files.first().and_then(|file| file.names.first()) {
            None => String::new(),
            Some(name) if files.len() == 1 => name.as_str().to_owned(),
            Some(name) => format!("{name} and {} other files", files.len().saturating_sub(1)),
        };
        // A file staged by another store lies elsewhere.
        for file in &files {
            let ours = match &file.content {
                FileContent::Bytes(_) => true,
                FileContent::Staged(staged) => staged.held.is::<StagedPath>(),
                FileContent::HeadAndTail(head, behind) => head.len() == behind.head && behind.held.is::<StagedPath>(),
            };
            if !ours {
                return Err(StoreError::Mismatch { doing: DOING, name: label });
            }
        }
        for file in &mut files {
            let FileContent::HeadAndTail(head, behind) = &mut file.content else { continue };
            match behind.held.downcast_mut::<StagedPath>().and_then(|held| held.file.as_mut()) {
                Some(file) => file.write_first(head).map_err(|error| self.error(DOING, &label, error))?,
                None => return Err(StoreError::Mismatch { doing: DOING, name: label }),
            }
        }
        let outcomes = self.in_dirs(&dirs, || {
            let mut parts: Vec<FileToCreate<'_>> = Vec::with_capacity(files.len());
            for (file, names) in files.iter_mut().zip(&paths) {
                let source = match &mut file.content {
                    FileContent::Bytes(bytes) => ByteSource::Bytes(bytes),
                    FileContent::Staged(StagedStream { held, .. })
                    | FileContent::HeadAndTail(_, StagedTail { held, .. }) => match held.downcast_mut::<StagedPath>() {
                        Some(StagedPath { path, file, batch, .. }) => {
                            ByteSource::Temp { path, file: file.take(), batch: Arc::clone(batch) }
                        }
                        None => return Err(ErrorKind::InvalidInput.into()),
                    },
                };
                parts.push(FileToCreate { names, source });
            }
            durable::create_files(self.fs.as_ref(), &mut parts, self.file_mode)
        });
        let outcomes = outcomes.map_err(|error| self.error(DOING, &label, error))?;
        for file in &mut files {
            let (FileContent::Staged(StagedStream { held, .. }) | FileContent::HeadAndTail(_, StagedTail { held, .. })) =
                &mut file.content
            else {
                continue;
            };
            if let Some(held) = held.downcast_mut::<StagedPath>() {
                held.named = false;
            }
        }
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome {
                CreateOutcome::Created => Created::New,
                CreateOutcome::SameBytes => Created::Same,
                CreateOutcome::Conflict => Created::Conflict,
            })
            .collect())
    }

    pub(super) fn stage_stream(&self, dir: &str, reader: &mut dyn Read, max: u64) -> Result<StagedStream, StoreError> {
        const DOING: &str = "stage";
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let in_dir = |error| self.error(DOING, dir, error);
        let batch = self.join_batch(dir).map_err(in_dir)?;
        let mut temp = self.temp(dir).map_err(in_dir)?;
        let written = HashingCopier::new().copy(reader, max, |piece| temp.write_bytes(piece));
        let digest = written.map_err(|error| copy_failed_from_source(error, DOING, dir))?;
        let open = Arc::clone(&self.open_staged);
        if open.fetch_add(1, Ordering::Relaxed) >= OPEN_STAGED {
            // The count is given back by the drop of `StagedPath`, which does not come to be.
            temp.close_in(&batch)
                .inspect_err(|_| {
                    open.fetch_sub(1, Ordering::Relaxed);
                })
                .map_err(in_dir)?;
        }
        let (path, file) = temp.keep();
        let held = StagedPath { fs: Arc::clone(&self.fs), path, file, batch, named: true, open };
        Ok(StagedStream::new(digest, Box::new(held)))
    }

    pub(super) fn stage_file_tail(&self, dir: &str, head: usize, pieces: &[&[u8]]) -> Result<StagedTail, StoreError> {
        const DOING: &str = "stage";
        if !dir.is_empty() {
            FileName::new(dir)?;
        }
        let batch = self.join_batch(dir).map_err(|error| self.error(DOING, dir, error))?;
        let written = self.temp(dir).and_then(|mut temp| {
            temp.write_bytes(&vec![b' '; head])?;
            pieces.iter().try_for_each(|piece| temp.write_bytes(piece))?;
            if pieces.iter().map(|piece| piece.len()).sum::<usize>() >= SYNCED_EARLY {
                temp.sync()?;
            }
            Ok(temp.keep())
        });
        let (path, file) = written.map_err(|error| self.error(DOING, dir, error))?;
        let open = Arc::clone(&self.open_staged);
        open.fetch_add(1, Ordering::Relaxed);
        let held = StagedPath { fs: Arc::clone(&self.fs), path, file, batch, named: true, open };
        Ok(StagedTail { head, held: Box::new(held) })
    }
}
