//! From an address to a connection that has introduced itself.

use std::{path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, RedisConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::{RedisUrl, error::words, url::Address};
use crate::{
    broker::{ConnectOptions, url::present_password},
    tls,
};

/// A connection and the task that moves its bytes, which ends with the connection.
pub(crate) struct Opened {
    pub connection: MultiplexedConnection,
    pub driver: AbortOnDropHandle<()>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) async fn open(url: &RedisUrl, options: &ConnectOptions) -> Result<Opened, String> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(patience(options)));
    within(options, async {
        let stream = stream(url, options).await?;
        let opened = MultiplexedConnection::new_with_config(&introduction(url, options).await?, stream, config).await;
        let (connection, driver) = opened.map_err(|error| words(&error))?;
        Ok(Opened { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
    })
    .await
}

pub(super) async fn open_listener(url: &RedisUrl, options: &ConnectOptions) -> Result<PubSub, String> {
    within(options, async {
        let stream = stream(url, options).await?;
        PubSub::new(&introduction(url, options).await?, stream).await.map_err(|error| words(&error))
    })
    .await
}

/// How long an answer may take before the connection is held to be dead.
pub(crate) fn patience(options: &ConnectOptions) -> Duration {
    options.heartbeat.max(Duration::from_secs(1))
}

async fn within<T>(options: &ConnectOptions, opening: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(options.connect_timeout, opening).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {:?}", options.connect_timeout)),
    }
}

async fn stream(url: &RedisUrl, options: &ConnectOptions) -> Result<Box<dyn Stream>, String> {
    match &url.address {
        Address::Tcp { host, port, tls } => {
            let connect = async || {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                Ok::<_, String>(stream)
            };
            let Some(files) = tls else {
                return Ok(Box::new(connect().await?));
            };
            let tls = tls::prepare(files, &options.tls).await?;
            let secured = tls.secure(connect().await?, host).await;
            Ok(Box::new(secured.map_err(|error| error.to_string())?))
        }
        Address::Socket(path) => Ok(Box::new(unix(path).await?)),
    }
}

async fn unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| error.to_string())
}

async fn introduction(url: &RedisUrl, options: &ConnectOptions) -> Result<RedisConnectionInfo, String> {
    let mut info =
        RedisConnectionInfo::default().set_db(url.db).set_lib_name("celery-runtime", env!("CARGO_PKG_VERSION"));
    // Shown by CLIENT LIST, where neither spaces nor anything beyond printable ASCII may be.
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
