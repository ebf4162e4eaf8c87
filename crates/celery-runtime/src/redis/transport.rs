//! Opens connections: from an address to a connection that has introduced itself.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, RedisConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    connection::{ConnectOptions, ConnectionError},
    credentials::present_password,
    tls::TlsHandshaker,
    url::{RedisAddress, RedisUrl},
};

/// An open connection and the task that moves its bytes, which ends with the connection.
pub(crate) struct OpenedConnection {
    pub connection: MultiplexedConnection,
    pub driver: AbortOnDropHandle<()>,
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

pub(super) async fn open(url: &RedisUrl, options: &ConnectOptions) -> Result<OpenedConnection, ConnectionError> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(answer_timeout(options)));
    in_time(options, async {
        let stream = stream(url, options).await?;
        let info = introduction(url, options).await?;
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok(OpenedConnection { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
    })
    .await
}

pub(super) async fn open_listener(url: &RedisUrl, options: &ConnectOptions) -> Result<PubSub, ConnectionError> {
    in_time(options, async {
        let stream = stream(url, options).await?;
        Ok(PubSub::new(&introduction(url, options).await?, stream).await?)
    })
    .await
}

/// How long an answer may take before the connection counts as dead.
pub(crate) fn answer_timeout(options: &ConnectOptions) -> Duration {
    options.heartbeat.max(Duration::from_secs(1))
}

async fn in_time<T>(
    options: &ConnectOptions,
    opening: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    match tokio::time::timeout(options.connect_timeout, opening).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectionError::NoAnswer(options.connect_timeout)),
    }
}

async fn stream(url: &RedisUrl, options: &ConnectOptions) -> Result<Box<dyn ByteStream>, ConnectionError> {
    match &url.address {
        RedisAddress::Tcp { host, port, tls } => {
            let connect = async || {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, ConnectionError>(stream)
            };
            let Some(files) = tls else {
                return Ok(Box::new(connect().await?));
            };
            let tls = TlsHandshaker::prepare(files, &options.tls).await?;
            Ok(Box::new(tls.secure(connect().await?, host).await?))
        }
        RedisAddress::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

async fn introduction(url: &RedisUrl, options: &ConnectOptions) -> Result<RedisConnectionInfo, ConnectionError> {
    let mut info =
        RedisConnectionInfo::default().set_db(url.db).set_lib_name("celery-runtime", env!("CARGO_PKG_VERSION"));
    // CLIENT LIST shows it, which allows neither spaces nor characters outside printable ASCII.
    let name: String = options.connection_name.chars().filter(|c| c.is_ascii_graphic()).collect();
    if !name.is_empty() {
        info = info.set_lib_name(&name, env!("CARGO_PKG_VERSION"));
    }
    if let Some(user) = &url.user {
        info = info.set_username(user);
    }
    let password = present_password(url.password.as_deref().unwrap_or_default(), url.password_file.as_ref()).await?;
    if !password.is_empty() {
        info = info.set_password(&password);
    }
    Ok(info)
}
