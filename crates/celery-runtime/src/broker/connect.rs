//! From a URL to a broker.

use std::sync::Arc;

use super::{amqp::AmqpBroker, memory::MemoryBroker, redis::RedisBroker, socket::SocketBroker, traits::SharedBroker};
use crate::{
    connection::{ConnectOptions, Servers},
    url::{BrokerUrl, UrlError, parse_list},
};

/// Why a URL gives no broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be parsed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No process serves the socket.
    #[error("cannot connect to the broker socket {path}: {source}")]
    Socket {
        /// The socket's path.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Makes a broker from a URL, or from several separated by `;`: when a server cannot be reached the next one is tried, in turn.
///
/// `amqp://` and `redis://` return immediately and connect in the background, so that a worker can start while its broker is
/// down; watch [`Broker::connection_state`](super::Broker::connection_state). `memory://` gives a new broker each time: share it
/// by cloning the `Arc`. `memory+unix://` connects before it returns, because no supervisor connects it again.
///
/// # Errors
/// If the URL cannot be parsed, or no process serves the socket it names.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<SharedBroker, ConnectError> {
    let urls = parse_list(url)?;
    let file = options.url_file.clone();
    // There is at least one, and they are of one kind.
    Ok(match urls[0].clone() {
        BrokerUrl::Amqp(first) => {
            let servers = Servers::several(urls, file).unwrap_or_else(|| Servers::from(first));
            Arc::new(AmqpBroker::start(servers, options))
        }
        BrokerUrl::Redis(first) => {
            let servers = Servers::several(urls, file).unwrap_or_else(|| Servers::from(first));
            Arc::new(RedisBroker::start(servers, options))
        }
        BrokerUrl::Memory => Arc::new(MemoryBroker::new().connect()),
        BrokerUrl::Socket(path) => match SocketBroker::connect(&path, options).await {
            Ok(broker) => Arc::new(broker),
            Err(source) => {
                return Err(ConnectError::Socket { path: path.display().to_string(), source });
            }
        },
    })
}
