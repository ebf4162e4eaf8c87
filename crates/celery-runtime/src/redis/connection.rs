//! The connection for commands: how it is kept open, and requests that survive its loss.

use std::{fmt, sync::Arc, time::Duration};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    error::{FailureKind, RequestError, classify, short_text},
    transport::{self, OpenedConnection, answer_timeout},
};
use crate::{
    connection::{
        ConnectOptions, ConnectionError, ConnectionLoss, LiveLink, Servers, SupervisedConnection, Transport, supervise,
    },
    url::RedisUrl,
};

/// How long the tasks of a closing connection may take to put their messages in order.
const CLOSING_TASKS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long closing the connection may take in all.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A Redis connection that repairs itself, shared by all its users.
pub(crate) struct RedisConnection {
    /// One of the servers, for the properties all of them share: database, prefix, times.
    pub url: RedisUrl,
    pub supervised: SupervisedConnection<RedisUrl, RedisLink>,
    /// Tasks that have something to put in order before the connection closes.
    pub tasks: TaskTracker,
}

/// One live connection.
#[derive(Clone)]
pub(crate) struct RedisLink {
    pub connection: MultiplexedConnection,
    pub generation: u64,
    /// Cancelled when the connection is lost.
    pub lost: CancellationToken,
}

impl LiveLink for RedisLink {
    fn is_alive(&self) -> bool {
        !self.lost.is_cancelled()
    }
}

impl RedisConnection {
    /// Starts connecting in the background and returns immediately. Must be called inside a tokio runtime.
    pub fn start(servers: Servers<RedisUrl>, options: ConnectOptions) -> Arc<Self> {
        let connection = Arc::new(Self {
            url: servers.present(),
            supervised: SupervisedConnection::new(servers, options),
            tasks: TaskTracker::new(),
        });
        tokio::spawn(supervise(connection.clone()));
        connection
    }

    pub fn options(&self) -> &ConnectOptions {
        &self.supervised.options
    }

    /// Cancelled when this process closes the connection.
    pub fn closed(&self) -> &CancellationToken {
        &self.supervised.closed
    }

    /// The present connection, or the next one. `None` once closed.
    pub async fn link(&self) -> Option<RedisLink> {
        self.supervised.link().await
    }

    /// The present connection, also while closing.
    pub fn present(&self) -> Option<RedisLink> {
        self.supervised.present()
    }

    /// Why there is no connection, as text.
    pub fn reason(&self) -> String {
        self.supervised.reason()
    }

    /// Opens a connection for the caller alone.
    pub async fn open_own(&self) -> Result<OpenedConnection, ConnectionError> {
        transport::open(&self.supervised.servers.present(), self.options()).await
    }

    /// Opens a connection for the caller alone, to listen on.
    pub async fn open_listener(&self) -> Result<redis::aio::PubSub, ConnectionError> {
        transport::open_listener(&self.supervised.servers.present(), self.options()).await
    }

    /// Sends a request on the present connection, and again on the next while the outcome is unknown, until
    /// [`ConnectOptions::operation_timeout`] is over. `request` learns whether it may have been sent before.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request<T, F, Fut>(&self, mut request: F) -> Result<T, RequestError>
    where
        F: FnMut(MultiplexedConnection, bool) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        let mut sent = false;
        let attempts = async {
            loop {
                let Some(link) = self.link().await else {
                    return Err(RequestError::Closed);
                };
                let repeated = std::mem::replace(&mut sent, true);
                match request(link.connection, repeated).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => match classify(&error) {
                        FailureKind::Refused => return Err(RequestError::Refused { reason: short_text(&error) }),
                        FailureKind::ConnectionLost | FailureKind::Temporary => {
                            tracing::debug!(error = short_text(&error), "request failed; retrying");
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    },
                }
            }
        };
        match tokio::time::timeout(self.options().operation_timeout, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Unavailable { reason: self.reason(), sent }),
        }
    }

    /// Sends a request once on the present connection, without waiting for another: to put messages in order, also while
    /// closing.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request_even_closing<T, F, Fut>(&self, request: F) -> Result<T, RequestError>
    where
        F: FnOnce(MultiplexedConnection) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        let Some(link) = self.present() else {
            return Err(RequestError::Unavailable { reason: self.reason(), sent: false });
        };
        request(link.connection).await.map_err(|error| match classify(&error) {
            FailureKind::Refused => RequestError::Refused { reason: short_text(&error) },
            _ => RequestError::Unavailable { reason: short_text(&error), sent: true },
        })
    }

    /// Closes the connection for good. Returns when it has closed, at the latest after [`CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        self.closed().cancel();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.supervised.ended.cancelled()).await.is_err() {
            tracing::debug!("connection not closed in order: timeout");
        }
    }
}

impl Transport for RedisConnection {
    type Url = RedisUrl;
    type Link = RedisLink;
    type Opened = OpenedConnection;

    fn supervised(&self) -> &SupervisedConnection<RedisUrl, RedisLink> {
        &self.supervised
    }

    async fn open(&self, url: &RedisUrl) -> Result<OpenedConnection, ConnectionError> {
        transport::open(url, self.options()).await
    }

    async fn serve(&self, opened: OpenedConnection) -> ConnectionLoss {
        let OpenedConnection { connection, mut driver } = opened;
        let generation = self.supervised.next_generation();
        let lost = CancellationToken::new();
        let _lost = lost.clone().drop_guard();
        self.supervised.offer(RedisLink { connection: connection.clone(), generation, lost }, generation);
        let loss = tokio::select! {
            () = self.closed().cancelled() => {
                // Consumers requeue their messages over this connection.
                self.tasks.close();
                tokio::select! {
                    _ = tokio::time::timeout(CLOSING_TASKS_TIMEOUT, self.tasks.wait()) => {}
                    _ = &mut driver => {}
                }
                ConnectionError::Closed.into()
            }
            _ = &mut driver => ConnectionError::Ended.into(),
            loss = self.watch(connection) => loss,
        };
        self.supervised.withdraw();
        loss
    }
}

impl RedisConnection {
    /// Asks at intervals whether Redis still answers. Returns when it does not.
    ///
    /// Where there are other servers it also asks whether this one has become a replica, which takes no writes.
    async fn watch(&self, mut connection: MultiplexedConnection) -> ConnectionLoss {
        let interval = answer_timeout(self.options()) / 2;
        loop {
            let answer: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
            if let Err(error) = answer
                && classify(&error) == FailureKind::ConnectionLost
            {
                return ConnectionError::Redis(error).into();
            }
            // A user without permission for ROLE cannot know.
            if self.supervised.servers.has_others()
                && let Ok(redis::Value::Array(role)) = redis::cmd("ROLE").query_async(&mut connection).await
                && role.first().is_some_and(|role| is_text(role, "slave"))
            {
                return ConnectionLoss { error: ConnectionError::Replica, server_unusable: true };
            }
            tokio::time::sleep(interval).await;
        }
    }
}

fn is_text(value: &redis::Value, text: &str) -> bool {
    match value {
        redis::Value::BulkString(bytes) => bytes == text.as_bytes(),
        redis::Value::SimpleString(simple) => simple == text,
        _ => false,
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.supervised.fmt(f)
    }
}
