//! `add-targets` for loose files: those in the inbound directory outside any batch.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use durable_fs::FileKind;
use fleet::batch::BATCH_PREFIX;
use fleet::contract::AddTargetsResult;
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;
use tuf_repository::roles::RoleError;

use super::commit::{earlier_result, result, submission};
use crate::error::{RefusedRequest, TargetsError};
use crate::fault::TargetFault;
use crate::ingest::{IngestError, IngestedFile};
use crate::release_check::EarlierDrops;
use crate::role::TargetsWorker;

impl TargetsWorker {
    pub(super) fn add_loose(
        &mut self,
        names: Option<&[String]>,
        task_id: &str,
        now: UtcTime,
    ) -> Result<AddTargetsResult, TargetsError> {
        let request = format!("task:{task_id}");
        // A retry finds its files gone. Those that are there may be newer ones, which this request does not name.
        if let Some(applied) = self.role.outcome_of(&request, now)? {
            return Ok(earlier_result(applied.record));
        }
        let paths = match names {
            Some(names) => names.iter().map(|name| loose_path(name)).collect::<Result<Vec<_>, _>>()?,
            None => self.loose_files()?,
        };
        let ingest = self.ingest();
        let mut files = paths
            .into_iter()
            .map(|path| ingest.take(Path::new(""), path).map_err(|error| refused(error, RefusedRequest::Unsigned)))
            .collect::<Result<Vec<_>, _>>()?;
        if files.is_empty() {
            return Ok(AddTargetsResult::default());
        }
        if let Some(fault) = self.check_release(&files, &mut EarlierDrops::default(), now)? {
            return Err(RefusedRequest::Unsigned(fault.into()).into());
        }
        self.ingest().keep(files.iter_mut()).map_err(|error| refused(error, RefusedRequest::Unsigned))?;
        let commit = self.role.commit(&[submission(request, &files)], now).map_err(|error| match &error {
            RoleError::SortedApart(apart) if let Some(apart) = apart.first() => {
                RefusedRequest::Unsigned(TargetFault::from(apart).into()).into()
            }
            _ => TargetsError::Role(error),
        })?;
        if self.keeps_files() {
            self.remove_loose(&files);
        }
        Ok(result(&commit))
    }

    /// All loose inbound files: neither in a batch, nor with a name that begins with a dot.
    fn loose_files(&self) -> Result<Vec<TargetPath>, TargetsError> {
        let ingest = self.ingest();
        let mut found = Vec::new();
        let entries = self
            .fs
            .read_dir(&self.inbound)
            .map_err(|source| TargetsError::Inbound { path: self.inbound.clone(), source })?;
        for entry in entries {
            let Some(name) = entry.name.to_str() else {
                return Err(not_listed(TargetFault::NotUtf8 { path: PathBuf::from(&entry.name) }));
            };
            if !is_loose(name) {
                continue;
            }
            match entry.kind {
                FileKind::File => found.push(TargetPath::new(name)?),
                FileKind::Dir => {
                    let below =
                        ingest.list(Path::new(name)).map_err(|error| refused(error, RefusedRequest::NotListed))?;
                    for inner in below {
                        found.push(TargetPath::new(&format!("{name}/{inner}"))?);
                    }
                }
                FileKind::Symlink | FileKind::Other => {
                    return Err(not_listed(TargetFault::NotARegularFile { path: PathBuf::from(name) }));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes loose files that are now signed and kept, except those that were replaced meanwhile.
    fn remove_loose(&self, files: &[IngestedFile]) {
        let ingest = self.ingest();
        for file in files {
            match ingest.remove_original(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %file.path, %error, "signed loose file not removed");
                }
                _ => {}
            }
        }
    }
}

/// Whether the entry `name` of the inbound directory is loose. All other entries are the monitor's: the batches, which
/// may be incomplete to this worker's eyes, and the directories and files in the making, whose names begin with a dot.
fn is_loose(name: &str) -> bool {
    !name.starts_with('.') && !name.starts_with(BATCH_PREFIX)
}

/// The path of a loose file that a task names. A file inside a batch belongs to its drop, and is signed with it or not at
/// all.
fn loose_path(name: &str) -> Result<TargetPath, TargetsError> {
    let path = TargetPath::new(name)?;
    let first = path.as_str().split('/').next().unwrap_or_default();
    if is_loose(first) { Ok(path) } else { Err(RefusedRequest::NotLoose { path: name.to_owned() }.into()) }
}

/// A missing file and one that cannot be a target are the caller's fault; any other error is the machine's.
fn refused(error: IngestError, request: fn(IngestError) -> RefusedRequest) -> TargetsError {
    match error {
        IngestError::Rejected(_) | IngestError::Missing { .. } => request(error).into(),
        error => TargetsError::Ingest(error),
    }
}

fn not_listed(fault: TargetFault) -> TargetsError {
    RefusedRequest::NotListed(fault.into()).into()
}
