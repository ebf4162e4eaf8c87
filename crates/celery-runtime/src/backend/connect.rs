//! From a URL to a result backend.

use std::sync::Arc;

use super::{SharedBackend, memory::MemoryBackend, redis::RedisBackend, rpc::RpcBackend};
use crate::broker::{ConnectOptions, RedisUrl, SharedBroker, UrlError, several};

/// Why no result backend could be made from a URL. Never quotes the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendConnectError {
    /// There is no `scheme://`.
    #[error("result backend url has no scheme (expected rpc://, redis:// or memory://)")]
    NoScheme,
    /// The rest of the URL is not understood.
    #[error("the result backend's: {0}")]
    Url(#[from] UrlError),
    /// A scheme nobody speaks.
    #[error("result backend url scheme is unknown (expected rpc, redis, rediss, redis+socket or memory)")]
    UnknownScheme,
}

/// Makes a result backend from a URL, or for Redis from several separated by `;`, as for a broker. `rpc://` uses `broker`; `redis://` connects in the background, as `options` say; `memory://` gives a fresh table each time: share it by cloning
/// the `Arc`.
///
/// # Errors
/// If the URL is not understood.
pub async fn connect(
    url: &str,
    broker: SharedBroker,
    options: ConnectOptions,
) -> Result<SharedBackend, BackendConnectError> {
    let (scheme, _) = url.split_once("://").ok_or(BackendConnectError::NoScheme)?;
    Ok(match scheme {
        "rpc" => Arc::new(RpcBackend::new(broker)),
        "memory" => Arc::new(MemoryBackend::new()),
        "redis" | "rediss" | "redis+socket" => match several::<RedisUrl>(url, None)? {
            Some(servers) => Arc::new(RedisBackend::start(servers, options)),
            None => return Err(BackendConnectError::UnknownScheme),
        },
        _ => return Err(BackendConnectError::UnknownScheme),
    })
}
