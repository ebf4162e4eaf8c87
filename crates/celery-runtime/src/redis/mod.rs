//! A Redis connection that heals itself: what the broker and the result backend stand on.
//!
//! One supervisor owns the connection for commands and makes a new one when it is lost. Commands of everybody are pipelined on
//! it. What blocks or listens opens a connection of its own.

mod error;
mod supervisor;
mod transport;
mod url;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use error::{Failure, RequestError, judge, words};
pub(crate) use transport::{Opened, patience};
pub use url::RedisUrl;

use crate::{
    broker::{ConnectOptions, ConnectionState},
    servers::Servers,
};

/// Shared by everything that uses one connection.
pub(crate) struct Redis {
    /// One of the servers, for what they have in common: database, prefix, times.
    pub url: RedisUrl,
    pub servers: Servers<RedisUrl>,
    pub options: ConnectOptions,
    pub state: watch::Sender<ConnectionState>,
    link: watch::Sender<Option<Link>>,
    generations: AtomicU64,
    /// No more work is taken on.
    pub closed: CancellationToken,
    /// The connection is gone as well.
    ended: CancellationToken,
    /// Who has something to put in order before the connection goes.
    pub tasks: TaskTracker,
}

/// One live connection.
#[derive(Clone)]
pub(crate) struct Link {
    pub connection: MultiplexedConnection,
    pub generation: u64,
    /// Cancelled when the connection is lost.
    pub lost: CancellationToken,
}

impl Redis {
    /// Starts connecting in the background and returns at once. Must be called inside a tokio runtime.
    pub fn start(servers: Servers<RedisUrl>, options: ConnectOptions) -> Arc<Self> {
        let shared = Arc::new(Self {
            url: servers.present(),
            servers,
            options,
            state: watch::Sender::new(ConnectionState::connecting()),
            link: watch::Sender::new(None),
            generations: AtomicU64::new(0),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        tokio::spawn(supervisor::run(shared.clone()));
        shared
    }

    /// The present connection, or the next one. `None` once closed.
    pub async fn link(&self) -> Option<Link> {
        if let Some(link) = self.present().filter(|_| !self.closed.is_cancelled()) {
            return Some(link);
        }
        let mut links = self.link.subscribe();
        loop {
            if self.closed.is_cancelled() {
                return None;
            }
            if let Some(link) = links.borrow_and_update().clone().filter(|link| !link.lost.is_cancelled()) {
                return Some(link);
            }
            tokio::select! {
                () = self.closed.cancelled() => return None,
                changed = links.changed() => changed.ok()?,
            }
        }
    }

    /// The present connection, even while closing.
    pub fn present(&self) -> Option<Link> {
        self.link.borrow().clone().filter(|link| !link.lost.is_cancelled())
    }

    /// A connection of the caller's own.
    pub async fn open(&self) -> Result<Opened, String> {
        transport::open(&self.servers.present(), &self.options).await
    }

    /// A connection of the caller's own, for listening.
    pub async fn open_listener(&self) -> Result<redis::aio::PubSub, String> {
        transport::open_listener(&self.servers.present(), &self.options).await
    }

    /// Sends a request on the present connection, and again on the next when the outcome is not known, until the time allowed
    /// is up. `request` is told whether it may have been sent before.
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
                let again = std::mem::replace(&mut sent, true);
                match request(link.connection, again).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => match judge(&error) {
                        Failure::Refused => return Err(RequestError::Refused { reason: words(&error) }),
                        Failure::Lost | Failure::NotNow => {
                            tracing::debug!(error = words(&error), "a request failed, trying it again");
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    },
                }
            }
        };
        match tokio::time::timeout(self.options.operation_timeout, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Unavailable { reason: self.reason(), sent }),
        }
    }

    /// One request on the present connection, without waiting for another: for putting things in order, which happens while
    /// closing as well.
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
        request(link.connection).await.map_err(|error| match judge(&error) {
            Failure::Refused => RequestError::Refused { reason: words(&error) },
            _ => RequestError::Unavailable { reason: words(&error), sent: true },
        })
    }

    /// Why there is no connection, in words.
    pub fn reason(&self) -> String {
        let state = self.state.borrow();
        state.last_error.clone().unwrap_or_else(|| format!("no connection to {} yet", self.servers))
    }

    /// Ends everything for good; returns when it has ended, or soon after.
    pub async fn close(&self) {
        self.closed.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.ended.cancelled()).await.is_err() {
            tracing::debug!("the connection did not close in an orderly way");
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("servers", &self.servers)
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
