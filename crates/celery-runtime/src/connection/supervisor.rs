//! Keeps one connection open.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    backoff::Backoff,
    error::ConnectionError,
    supervised::{LiveLink, SupervisedConnection},
};
use crate::url::ServerUrl;

/// How one kind of connection is opened and used.
pub(crate) trait Transport: Send + Sync + 'static {
    /// The URL of its servers.
    type Url: ServerUrl + Send + Sync;
    /// The handle to a live connection.
    type Link: LiveLink;
    /// An open connection that no one uses yet.
    type Opened: Send;

    /// The state that the supervisor keeps up to date.
    fn supervised(&self) -> &SupervisedConnection<Self::Url, Self::Link>;

    /// Opens a connection to `url`.
    fn open(&self, url: &Self::Url) -> impl Future<Output = Result<Self::Opened, ConnectionError>> + Send;

    /// Offers the connection to its users until it is lost, or this process closes it.
    fn serve(&self, opened: Self::Opened) -> impl Future<Output = ConnectionLoss> + Send;
}

/// Why a connection is no longer used.
#[derive(Debug)]
pub(crate) struct ConnectionLoss {
    pub error: ConnectionError,
    /// The server answers, but cannot serve us: the next one is tried first.
    pub server_unusable: bool,
}

impl From<ConnectionError> for ConnectionLoss {
    fn from(error: ConnectionError) -> Self {
        Self { error, server_unusable: false }
    }
}

/// Connects, waits for the connection to be lost, and connects again, until it is closed.
pub(crate) async fn supervise<T: Transport>(transport: Arc<T>) {
    let connection = transport.supervised();
    let mut backoff = Backoff::new(&connection.options);
    while !connection.closed.is_cancelled() {
        connection.servers.reload().await;
        let url = connection.servers.present();
        let span = tracing::error_span!("connection", server.url = %url);
        let attempt = connect_and_serve(&*transport, &url, &mut backoff).instrument(span);
        let Some(wait) = attempt.await else { break };
        if !wait {
            continue;
        }
        tokio::select! {
            () = connection.closed.cancelled() => break,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
    connection.state.send_modify(|state| state.down(None));
    connection.ended.cancel();
}

/// One connection. Returns whether it is time to wait before the next; `None` once closed.
async fn connect_and_serve<T: Transport>(transport: &T, url: &T::Url, backoff: &mut Backoff) -> Option<bool> {
    let connection = transport.supervised();
    let attempt = tokio::select! {
        () = connection.closed.cancelled() => return None,
        attempt = transport.open(url) => attempt,
    };
    let (wait, error) = match attempt {
        Ok(opened) => {
            let since = Instant::now();
            let loss = transport.serve(opened).await;
            if connection.closed.is_cancelled() {
                return None;
            }
            // After a connection that held for a while the waits start again, and its server is tried first. One that
            // breaks immediately counts as a failed attempt.
            let held = since.elapsed() > connection.options.max_retry && !loss.server_unusable;
            let wait = if held {
                backoff.reset();
                connection.servers.reached();
                true
            } else {
                connection.servers.next()
            };
            tracing::warn!(error = %loss.error, "connection lost; reconnecting");
            (wait, loss.error)
        }
        Err(error) => {
            let wait = connection.servers.next();
            let repeated = connection.state.borrow().last_error.as_deref() == Some(error.to_string().as_str());
            if repeated {
                tracing::debug!(%error, "server still unreachable; retrying");
            } else {
                tracing::warn!(%error, "server unreachable; retrying");
            }
            (wait, error)
        }
    };
    connection.state.send_modify(|state| state.down(Some(error.to_string())));
    Some(wait)
}
