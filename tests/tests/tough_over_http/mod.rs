//! tough, a client written by others, on a repository behind HTTP. It asks for the URL that it makes from a name, as it is.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use futures_util::{TryStreamExt as _, stream};
use tough::{
    Bytes, ExpirationEnforcement, Repository, RepositoryLoader, TargetName, Transport, TransportError,
    TransportErrorKind, TransportStream, async_trait,
};
use url::Url;

/// More than any file here has; tough itself stops at the length that the metadata lists.
const MAX_BYTES: u64 = 256 << 20;

/// The contents of a target, or tough's reason not to fetch it.
pub(crate) type Fetched = Result<Vec<u8>, String>;

/// Loads the repository below `repository`, with `metadata/` and `targets/` in it, and fetches each of `names`. `state` is
/// tough's own directory, which is kept from one call to the next.
///
/// # Errors
/// tough does not load the repository: its reason.
pub(crate) fn fetch_each(
    repository: &str,
    root: &[u8],
    state: &Path,
    names: &[String],
) -> Result<BTreeMap<String, Fetched>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let url = |directory| Url::parse(&format!("{repository}/{directory}/")).map_err(|error| error.to_string());
        let loaded = RepositoryLoader::new(&root, url("metadata")?, url("targets")?)
            .transport(Web::new())
            .datastore(state)
            .expiration_enforcement(ExpirationEnforcement::Safe)
            .load()
            .await
            .map_err(|error| chain(&error))?;
        let mut fetched = BTreeMap::new();
        for name in names {
            fetched.insert(name.clone(), fetch(&loaded, name).await);
        }
        Ok(fetched)
    })
}

async fn fetch(repository: &Repository, name: &str) -> Fetched {
    let name = TargetName::new(name).map_err(|error| chain(&error))?;
    let stream = repository.read_target(&name).await.map_err(|error| chain(&error))?;
    let stream = stream.ok_or("not found: no role lists it")?;
    let content: Vec<Bytes> = stream.try_collect().await.map_err(|error| chain(&error))?;
    Ok(content.concat())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[derive(Clone, Debug)]
struct Web(ureq::Agent);

impl Web {
    fn new() -> Self {
        Self(ureq::Agent::config_builder().http_status_as_error(false).build().into())
    }
}

#[async_trait]
impl Transport for Web {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let failed = |kind, cause: Box<dyn std::error::Error + Send + Sync>| {
            TransportError::new_with_cause(kind, url.clone(), cause)
        };
        let answer =
            self.0.get(url.as_str()).call().map_err(|error| failed(TransportErrorKind::Other, error.into()))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let kind = if status == 404 { TransportErrorKind::FileNotFound } else { TransportErrorKind::Other };
            return Err(failed(kind, format!("the server answered with status {status}").into()));
        }
        let mut content = Vec::new();
        let read = answer.into_body().into_reader().take(MAX_BYTES).read_to_end(&mut content);
        read.map_err(|error| failed(TransportErrorKind::Other, error.into()))?;
        Ok(Box::pin(stream::iter([Ok(Bytes::from(content))])))
    }
}
