//! tough, a strict client written by others. It is linked into this test alone, not into what all tests share: it brings
//! a cryptography library of its own.

use futures_util::{TryStreamExt as _, stream};
use system_tests::{Files, Fleet};
use tough::{
    Bytes, ExpirationEnforcement, RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind,
    TransportStream, async_trait,
};
use url::Url;

/// Every target as tough verifies and downloads it, starting from `1.root.json`.
#[track_caller]
pub(crate) fn download_all(fleet: &Fleet) -> Files {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(download(fleet)).unwrap_or_else(|error| panic!("tough: {error:?}"))
}

async fn download(fleet: &Fleet) -> Result<Files, Box<dyn std::error::Error>> {
    let root = std::fs::read(fleet.first_root())?;
    let url = |directory| Url::from_directory_path(directory).map_err(|()| "not an absolute path");
    let repository = RepositoryLoader::new(&root, url(fleet.metadata())?, url(fleet.targets())?)
        .transport(Decoding)
        .expiration_enforcement(ExpirationEnforcement::Safe)
        .load()
        .await?;
    let names: Vec<TargetName> = repository.all_targets().map(|(name, _)| name.clone()).collect();
    let mut files = Files::new();
    for name in names {
        let stream = repository.read_target(&name).await?.ok_or_else(|| format!("{} is listed only", name.raw()))?;
        let content: Vec<Bytes> = stream.try_collect().await?;
        files.insert(name.raw().to_owned(), content.concat());
    }
    Ok(files)
}

/// `file://` as a web server has it: names in URLs are percent-encoded. tough's own transport takes them literally.
#[derive(Clone, Debug)]
struct Decoding;

#[async_trait]
impl Transport for Decoding {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let read = url.to_file_path().map_err(|()| std::io::ErrorKind::InvalidInput.into()).and_then(std::fs::read);
        match read {
            Ok(content) => Ok(Box::pin(stream::iter([Ok(Bytes::from(content))]))),
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                let kind = if missing { TransportErrorKind::FileNotFound } else { TransportErrorKind::Other };
                Err(TransportError::new_with_cause(kind, url, error))
            }
        }
    }
}
