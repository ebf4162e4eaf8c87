//! From a URL to a broker.

use std::{sync::Arc, time::Duration};

use super::{Broker, BrokerUrl, UrlError, amqp::AmqpBroker, memory::MemoryBroker, socket::SocketBroker};

/// How to connect. The defaults suit a worker.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Shown in the broker's list of connections.
    pub connection_name: String,
    /// AMQP heartbeat: a silent connection is given up after about twice this. At least a second.
    pub heartbeat: Duration,
    /// The time one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long a publish or a declaration waits for a connection and for the broker's answer.
    pub operation_timeout: Duration,
    /// The wait before the first reconnect; doubled by each failure, with jitter.
    pub first_retry: Duration,
    /// The longest wait between two reconnects.
    pub max_retry: Duration,
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

/// Makes a broker from a URL. For `amqp://` it returns at once and connects in the background, so that a worker can start
/// while its broker is down; watch [`Broker::connection_state`]. `memory://` gives a fresh broker each time: share it by
/// cloning the `Arc`. `memory+unix://` connects before it returns, because its other end is either there or not.
///
/// # Errors
/// If the URL is not understood, or nobody serves the socket it names.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<Arc<dyn Broker>, ConnectError> {
    Ok(match url.parse::<BrokerUrl>()? {
        BrokerUrl::Amqp(url) => Arc::new(AmqpBroker::start(url, options)),
        BrokerUrl::Memory => Arc::new(MemoryBroker::new().connect()),
        BrokerUrl::Socket(path) => match SocketBroker::connect(&path, options).await {
            Ok(broker) => Arc::new(broker),
            Err(source) => {
                return Err(ConnectError::Socket { path: path.display().to_string(), source });
            }
        },
    })
}
