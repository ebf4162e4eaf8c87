//! From a URL to a result backend.

use std::sync::Arc;

use super::{memory::MemoryBackend, redis::RedisBackend, rpc::RpcBackend, traits::SharedBackend};
use crate::{
    broker::SharedBroker,
    connection::{ConnectOptions, Servers},
    url::{RedisUrl, UrlError, parse_list},
};

/// Why a URL gives no result backend. Never quotes the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendConnectError {
    /// The URL does not start with `scheme://`.
    #[error("result backend url has no scheme (expected rpc://, redis:// or memory://)")]
    NoScheme,
    /// The rest of the URL cannot be parsed.
    #[error("result backend: {0}")]
    Url(#[from] UrlError),
    /// The scheme is not supported.
    #[error("result backend url scheme is unknown (expected rpc, redis, rediss, redis+socket or memory)")]
    UnknownScheme,
}

/// Makes a result backend from a URL, or for Redis from several separated by `;`, as for a broker.
///
/// `rpc://` uses `broker`. `redis://` connects in the background with `options`. `memory://` gives a new table each time: share it
/// by cloning the `Arc`.
///
/// # Errors
/// If the URL cannot be parsed.
pub async fn connect(
    url: &str,
    broker: SharedBroker,
    options: ConnectOptions,
) -> Result<SharedBackend, BackendConnectError> {
    let (scheme, _) = url.split_once("://").ok_or(BackendConnectError::NoScheme)?;
    Ok(match scheme {
        "rpc" => Arc::new(RpcBackend::new(broker)),
        "memory" => Arc::new(MemoryBackend::new()),
        "redis" | "rediss" | "redis+socket" => match Servers::<RedisUrl>::several(parse_list(url)?, None) {
            Some(servers) => Arc::new(RedisBackend::start(servers, options)),
            None => return Err(BackendConnectError::UnknownScheme),
        },
        _ => return Err(BackendConnectError::UnknownScheme),
    })
}
