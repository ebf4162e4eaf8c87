//! tough, a client written by others, as a second opinion: it knows nothing of this project.
//!
//! Its own `file://` transport does not undo percent-encoding, so that a directory or target with a space in its name
//! could not be read; hence one of ours, which reads the two directories and nothing else.

use std::io::{self, Read};
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

use super::Place;
use super::directory::Directory;
use super::folder::Folder;
use crate::error::CliError;
use crate::serve::percent_decode;

const METADATA: &str = "/metadata/";
const TARGETS: &str = "/targets/";
const CHUNK_BYTES: usize = 64 << 10;
/// tough bounds what it reads; this bounds how long a server may take.
const MAX_BYTES: u64 = 1 << 30;

/// tough's defaults are below what a repository of a million targets needs; everything is local, and its own.
const LIMITS: Limits = Limits {
    max_root_size: 1 << 20,
    max_targets_size: 1 << 30,
    max_timestamp_size: 1 << 20,
    max_snapshot_size: 64 << 20,
    max_root_updates: 1024,
};

/// Loads the repository with expiry enforced and downloads every target. `bar` counts targets.
///
/// Returns the number of targets and their bytes, or what tough says is wrong.
///
/// # Errors
/// When the trusted root cannot be read.
pub async fn download_all(
    fs: &Arc<dyn Fs>,
    place: &Place,
    bar: &ProgressBar,
) -> Result<Result<(u64, u64), String>, CliError> {
    let root = place.read_root(fs.as_ref())?;
    let local = |dir: &std::path::PathBuf| Folder::Local(Directory::new(Arc::clone(fs), dir.clone()));
    Ok(download_from(&root, local(&place.metadata), place.targets.as_ref().map(local), true, bar).await)
}

/// The same for a repository anywhere, from this root on. tough reads the clock itself: for another time than now,
/// expiry is not enforced.
///
/// # Errors
/// What tough says is wrong.
pub async fn download_from(
    root: &[u8],
    metadata: Folder,
    targets: Option<Folder>,
    enforce_expiry: bool,
    bar: &ProgressBar,
) -> Result<(u64, u64), String> {
    let enforcement = if enforce_expiry { ExpirationEnforcement::Safe } else { ExpirationEnforcement::Unsafe };
    let transport = Directories { metadata, targets };
    load_and_download(root, transport, enforcement, bar).await.map_err(|error| with_sources(error.as_ref()))
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn load_and_download(
    root: &[u8],
    transport: Directories,
    enforcement: ExpirationEnforcement,
    bar: &ProgressBar,
) -> Result<(u64, u64), AnyError> {
    let with_targets = transport.targets.is_some();
    let metadata_url = Url::parse(&format!("file://{METADATA}"))?;
    let targets_url = Url::parse(&format!("file://{TARGETS}"))?;
    let repository = RepositoryLoader::new(&root, metadata_url, targets_url)
        .transport(transport)
        .limits(LIMITS)
        .expiration_enforcement(enforcement)
        .load()
        .await?;
    let names: Vec<TargetName> = repository.all_targets().map(|(name, _)| name.clone()).collect();
    let (mut targets, mut bytes) = (0, 0);
    if !with_targets {
        return Ok((names.len() as u64, 0));
    }
    bar.set_length(names.len() as u64);
    for name in names {
        let named = |error: AnyError| -> AnyError {
            format!("target {:?}: {}", name.raw(), with_sources(error.as_ref())).into()
        };
        let stream = repository.read_target(&name).await.map_err(|error| named(error.into()))?;
        let mut stream = stream.ok_or_else(|| named("listed, and not found when asked for".into()))?;
        while let Some(chunk) = stream.next().await {
            bytes += chunk.map_err(|error| named(error.into()))?.len() as u64;
        }
        targets += 1;
        bar.inc(1);
    }
    Ok((targets, bytes))
}

/// An error and what it came from, on one line, nothing twice.
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// The two directories of a repository under `file:///metadata/` and `file:///targets/`.
#[derive(Clone, Debug)]
struct Directories {
    metadata: Folder,
    targets: Option<Folder>,
}

impl Directories {
    fn open(&self, url: &Url) -> io::Result<Option<Box<dyn Read + Send>>> {
        let path = url.path();
        let (directory, encoded) = if let Some(rest) = path.strip_prefix(METADATA) {
            (Some(&self.metadata), rest)
        } else if let Some(rest) = path.strip_prefix(TARGETS) {
            (self.targets.as_ref(), rest)
        } else {
            (None, path)
        };
        let Some(directory) = directory else { return Ok(None) };
        let path = percent_decode(encoded)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8"))?;
        directory.open(&path, MAX_BYTES)
    }
}

#[async_trait]
impl Transport for Directories {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        match self.open(&url) {
            Ok(Some(file)) => Ok(Box::pin(Chunks { file: Mutex::new(Some(file)), url })),
            Ok(None) => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            Err(error) => Err(TransportError::new_with_cause(TransportErrorKind::Other, url, error)),
        }
    }
}

/// A file in pieces. The mutex is never contended: it makes a file that is only `Send` shareable, as tough wants it.
struct Chunks {
    file: Mutex<Option<Box<dyn Read + Send>>>,
    url: Url,
}

impl Stream for Chunks {
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
