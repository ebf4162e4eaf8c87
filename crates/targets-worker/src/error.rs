//! Why a task of the targets-worker did not do its work.

use std::io;
use std::path::PathBuf;

use fleet::batch::{BATCH_FILE, BATCH_FORMAT};
use fleet::exceptions;
use fleet::signing::SigningError;
use tuf_core::names::NameError;
use tuf_core::store::StoreError;

use crate::fault::TargetFault;
use crate::ingest::IngestError;

/// Why a request is refused: the caller has to change it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedRequest {
    #[error("give `batch` or `targets`, not both")]
    BatchAndTargets,
    #[error("`batch` is not the name of a batch directory")]
    NotABatchName,
    #[error("{batch}/{BATCH_FILE} cannot be read: {source}")]
    MalformedBatchFile { batch: String, source: serde_json::Error },
    #[error("`{dir}` is not a drop's directory")]
    NotADropDir { dir: String },
    #[error("`{post}` does not name a post")]
    NotAPost { post: String },
    #[error(transparent)]
    NotATargetPath(#[from] NameError),
    /// A file that belongs to the monitor.
    #[error(
        "{path} is not a loose file: batches, and entries of the inbound directory whose names begin with a dot, belong to \
         the monitor"
    )]
    NotLoose { path: String },
    /// Loose files that cannot be signed.
    #[error("{0}; nothing was signed")]
    Unsigned(#[source] IngestError),
    /// Files of a batch that cannot be kept, so that the monitor halves it until it finds the drop.
    #[error(transparent)]
    NotKept(TargetFault),
    /// Loose files that cannot be listed.
    #[error(transparent)]
    NotListed(IngestError),
    #[error("request_id must have 1 to {max} bytes")]
    RequestId { max: usize },
    #[error("`expected` names {path}, which is not among `targets`")]
    ExpectedNotRemoved { path: String },
    #[error("`{hash}` is not a hex sha256")]
    NotASha256 { hash: String },
}

/// Why a task of the targets-worker did not do its work; nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetsError {
    #[error(transparent)]
    Refused(#[from] RefusedRequest),
    /// The monitor makes the batch again.
    #[error("{batch} is not in the inbound directory, or is incomplete")]
    BatchMissing { batch: String },
    /// Not the drop's fault, so no refusal: the monitor asks again until this worker is upgraded.
    #[error(
        "{batch}/{BATCH_FILE} has format {format}; this version reads up to {BATCH_FORMAT}: upgrade the targets-worker"
    )]
    NewerBatchFormat { batch: String, format: u64 },
    #[error("{}: {source}", path.display())]
    Inbound { path: PathBuf, source: io::Error },
    /// The space in the targets directory is unknown.
    #[error("{}: {source}", path.display())]
    Targets { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Ingest(IngestError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Role(#[from] tuf_repository::roles::RoleError),
}

impl From<NameError> for TargetsError {
    fn from(error: NameError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<TargetsError> for SigningError {
    fn from(error: TargetsError) -> Self {
        match error {
            TargetsError::Refused(refused) => Self::refused(refused.to_string()),
            TargetsError::BatchMissing { .. } => {
                Self::Refused(exceptions::exception(exceptions::BATCH_MISSING, error.to_string()))
            }
            TargetsError::NewerBatchFormat { .. } => Self::alarm(error),
            TargetsError::Inbound { .. }
            | TargetsError::Targets { .. }
            | TargetsError::Ingest(_)
            | TargetsError::Store(_) => Self::infrastructure(error),
            TargetsError::Role(error) => error.into(),
        }
    }
}
