//! From a URL to a broker.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Broker, BrokerUrl, UrlError, amqp::AmqpBroker, memory::MemoryBroker, redis::RedisBroker, socket::SocketBroker,
};

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
    /// Whom `rediss://` trusts, and who we are.
    pub tls: TlsOptions,
}

/// How a connection is secured. The server's certificate is always checked, its name included.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Certificates of the authorities to trust, in PEM. Without it the system's, which `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// may put elsewhere.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate, those between it and its authority, and its private key (PKCS#8), in PEM: for servers that ask
    /// for one.
    pub identity: Option<Vec<u8>>,
}

/// Keys are not shown.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
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

/// Makes a broker from a URL. For `amqp://` and `redis://` it returns at once and connects in the background, so that a worker can start
/// while its broker is down; watch [`Broker::connection_state`]. `memory://` gives a fresh broker each time: share it by
/// cloning the `Arc`. `memory+unix://` connects before it returns, because its other end is either there or not.
///
/// # Errors
/// If the URL is not understood, or nobody serves the socket it names.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<Arc<dyn Broker>, ConnectError> {
    Ok(match url.parse::<BrokerUrl>()? {
        BrokerUrl::Amqp(url) => Arc::new(AmqpBroker::start(url, options)),
        BrokerUrl::Redis(url) => Arc::new(RedisBroker::start(url, options)),
        BrokerUrl::Memory => Arc::new(MemoryBroker::new().connect()),
        BrokerUrl::Socket(path) => match SocketBroker::connect(&path, options).await {
            Ok(broker) => Arc::new(broker),
            Err(source) => {
                return Err(ConnectError::Socket { path: path.display().to_string(), source });
            }
        },
    })
}
