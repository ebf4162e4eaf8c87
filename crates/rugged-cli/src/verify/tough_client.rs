//! tough, a TUF client of another project, as a second opinion.
//!
//! tough's own `file://` transport does not decode percent-encoding, so it cannot read a directory or target with a space
//! in its name. Ours can, and reads the two directories of the repository only.

use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ::tough::{
    Bytes, ExpirationEnforcement, Limits, RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind,
    TransportStream, async_trait,
};
use durable_fs::Fs;
use futures_util::{Stream, StreamExt as _};
use indicatif::ProgressBar;
use url::Url;

use super::local_directory::LocalDirectory;
use super::repository_directory::RepositoryDirectory;
use super::repository_paths::RepositoryPaths;
use crate::percent::percent_decode;

const METADATA_PREFIX: &str = "/metadata/";
const TARGETS_PREFIX: &str = "/targets/";
/// Bytes of a file that are read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Bounds the time of a download; tough itself bounds the bytes.
const MAX_DOWNLOAD_BYTES: u64 = 1 << 30;

/// Above tough's defaults, which are too low for a repository of a million targets.
const TOUGH_LIMITS: Limits = Limits {
    max_root_size: 1 << 20,
    max_targets_size: 1 << 30,
    max_timestamp_size: 1 << 20,
    max_snapshot_size: 64 << 20,
    max_root_updates: 1024,
};

/// Why tough does not accept a repository.
#[derive(Debug, thiserror::Error)]
pub enum ToughError {
    /// The metadata does not verify, or cannot be read.
    #[error("cannot load the metadata")]
    Metadata(#[source] Box<::tough::error::Error>),
    /// A target does not verify, or cannot be read.
    #[error("cannot download target {name:?}")]
    Target {
        /// The target path.
        name: String,
        /// tough's reason.
        source: Box<::tough::error::Error>,
    },
    /// A listed target cannot be found through the delegations.
    #[error("target {name:?} is listed, but tough cannot find it")]
    TargetNotFound {
        /// The target path.
        name: String,
    },
    /// A base URL is malformed: a bug.
    #[error("invalid base URL")]
    BaseUrl(#[from] url::ParseError),
}

/// The targets that tough has downloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadedTargets {
    /// The number of targets.
    pub targets: u64,
    /// Their size in bytes; 0 when the repository does not store target files.
    pub bytes: u64,
}

/// Loads a repository of this machine from `root` with expiry enforced, and downloads every target. `bar` counts
/// targets.
///
/// # Errors
/// [`ToughError`]: tough does not accept the repository.
pub async fn download_all_with_tough(
    fs: &Arc<dyn Fs>,
    paths: &RepositoryPaths,
    root: &[u8],
    bar: &ProgressBar,
) -> Result<DownloadedTargets, ToughError> {
    let local = |dir: &PathBuf| RepositoryDirectory::Local(LocalDirectory::new(Arc::clone(fs), dir.clone()));
    download_with_tough(root, local(&paths.metadata), paths.targets.as_ref().map(local), true, bar).await
}

/// Loads any repository from `root`, and downloads every target. tough reads the clock itself: to check for another
/// time than now, pass `enforce_expiry: false`.
///
/// # Errors
/// [`ToughError`]: tough does not accept the repository.
pub async fn download_with_tough(
    root: &[u8],
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    enforce_expiry: bool,
    bar: &ProgressBar,
) -> Result<DownloadedTargets, ToughError> {
    let enforcement = if enforce_expiry { ExpirationEnforcement::Safe } else { ExpirationEnforcement::Unsafe };
    let with_targets = targets.is_some();
    let metadata_url = Url::parse(&format!("file://{METADATA_PREFIX}"))?;
    let targets_url = Url::parse(&format!("file://{TARGETS_PREFIX}"))?;
    let repository = RepositoryLoader::new(&root, metadata_url, targets_url)
        .transport(RepositoryTransport { metadata, targets })
        .limits(TOUGH_LIMITS)
        .expiration_enforcement(enforcement)
        .load()
        .await
        .map_err(|error| ToughError::Metadata(Box::new(error)))?;
    let names: Vec<TargetName> = repository.all_targets().map(|(name, _)| name.clone()).collect();
    if !with_targets {
        return Ok(DownloadedTargets { targets: names.len() as u64, bytes: 0 });
    }
    bar.set_length(names.len() as u64);
    let mut downloaded = DownloadedTargets::default();
    for name in names {
        let failed = |error| ToughError::Target { name: name.raw().to_owned(), source: Box::new(error) };
        let stream = repository.read_target(&name).await.map_err(failed)?;
        let mut stream = stream.ok_or_else(|| ToughError::TargetNotFound { name: name.raw().to_owned() })?;
        while let Some(chunk) = stream.next().await {
            downloaded.bytes += chunk.map_err(failed)?.len() as u64;
        }
        downloaded.targets += 1;
        bar.inc(1);
    }
    Ok(downloaded)
}

/// tough's view of a repository: its two directories under `file:///metadata/` and `file:///targets/`.
#[derive(Clone, Debug)]
struct RepositoryTransport {
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
}

impl RepositoryTransport {
    fn open(&self, url: &Url) -> io::Result<Option<Box<dyn Read + Send>>> {
        let path = url.path();
        let (directory, encoded) = if let Some(rest) = path.strip_prefix(METADATA_PREFIX) {
            (Some(&self.metadata), rest)
        } else if let Some(rest) = path.strip_prefix(TARGETS_PREFIX) {
            (self.targets.as_ref(), rest)
        } else {
            (None, path)
        };
        let Some(directory) = directory else { return Ok(None) };
        let path = percent_decode(encoded)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8"))?;
        directory.open(&path, MAX_DOWNLOAD_BYTES)
    }
}

#[async_trait]
impl Transport for RepositoryTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        match self.open(&url) {
            Ok(Some(file)) => Ok(Box::pin(FileChunks { file: Mutex::new(Some(file)), url })),
            Ok(None) => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            Err(error) => Err(TransportError::new_with_cause(TransportErrorKind::Other, url, error)),
        }
    }
}

/// A file as a stream of chunks. The mutex is never contended: it makes a file that is only `Send` also `Sync`, as tough
/// requires.
struct FileChunks {
    file: Mutex<Option<Box<dyn Read + Send>>>,
    url: Url,
}

impl Stream for FileChunks {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let slot = this.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = slot else { return Poll::Ready(None) };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        match file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk) {
            Ok(0) => {
                *slot = None;
                Poll::Ready(None)
            }
            Ok(_) => Poll::Ready(Some(Ok(Bytes::from(chunk)))),
            Err(error) => {
                *slot = None;
                Poll::Ready(Some(Err(TransportError::new_with_cause(TransportErrorKind::Other, &this.url, error))))
            }
        }
    }
}
