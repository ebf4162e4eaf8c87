//! From a URL to a broker.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Broker, BrokerUrl, UrlError, amqp::AmqpBroker, memory::MemoryBroker, redis::RedisBroker, socket::SocketBroker,
    url::parse_list,
};
use crate::servers::{ServerUrl, Servers};
pub use crate::tls::{TlsFiles, TlsOptions};

/// How to connect. The defaults suit a worker.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Shown in the broker's list of connections.
    pub connection_name: String,
    /// AMQP heartbeat, or on Redis how often it is asked: a silent connection is given up after about twice this. At least a
    /// second.
    pub heartbeat: Duration,
    /// The time one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long a publish or a declaration waits for a connection and for the broker's answer.
    pub operation_timeout: Duration,
    /// The wait before the first reconnect; doubled by each failure, with jitter.
    pub first_retry: Duration,
    /// The longest wait between two reconnects.
    pub max_retry: Duration,
    /// Whom `amqps://` and `rediss://` trust, and who we are.
    pub tls: TlsOptions,
    /// The file the broker's URL comes from, if any: it is read anew for every connection, so that passwords and servers can
    /// be replaced under a running process. Result backends do not read it.
    pub url_file: Option<PathBuf>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connection_name: "celery-runtime".to_owned(),
            heartbeat: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(30),
            first_retry: Duration::from_millis(50),
            max_retry: Duration::from_secs(5),
            tls: TlsOptions::default(),
            url_file: None,
        }
    }
}

/// Why no broker could be made from a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not understood.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Nobody serves that socket.
    #[error("cannot reach the fleet at {path}: {source}")]
    Socket {
        /// The socket's path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a broker from a URL, or from several separated by `;`: the first is used, and when it cannot be reached the next,
/// round and round. For `amqp://` and `redis://` it returns at once and connects in the background, so that a worker can start
/// while its broker is down; watch [`Broker::connection_state`]. `memory://` gives a fresh broker each time: share it by
/// cloning the `Arc`. `memory+unix://` connects before it returns, because its other end is either there or not.
///
/// # Errors
/// If the URL is not understood, or nobody serves the socket it names.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<Arc<dyn Broker>, ConnectError> {
    let mut urls = parse_list(url)?;
    let file = options.url_file.clone();
    // There is at least one, and they are of one kind.
    Ok(match urls.swap_remove(0) {
        BrokerUrl::Amqp(first) => {
            Arc::new(AmqpBroker::start(several(url, file)?.unwrap_or_else(|| Servers::from(first)), options))
        }
        BrokerUrl::Redis(first) => {
            Arc::new(RedisBroker::start(several(url, file)?.unwrap_or_else(|| Servers::from(first)), options))
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

/// The servers `url` names, to be read again from `file`.
pub(crate) fn several<U: ServerUrl>(url: &str, file: Option<PathBuf>) -> Result<Option<Servers<U>>, UrlError> {
    Ok(Servers::several(parse_list(url)?, file))
}
