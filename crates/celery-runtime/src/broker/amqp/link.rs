//! One live connection and the channels publishers use on it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use lapin::{
    Channel, Connection, ErrorKind,
    options::ConfirmSelectOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::connection::LiveLink;

/// A connection. The supervisor drops it when it is lost; other holders then see errors.
pub(super) struct AmqpLink {
    connection: Connection,
    lost: CancellationToken,
    /// It has run out of channel numbers.
    out_of_channels: AtomicBool,
    /// For mandatory publishes, one at a time: a message returned by the broker is not tied to a confirm by the protocol, so
    /// with several under way the return could belong to any of them.
    pub mandatory: Mutex<Option<Channel>>,
    /// For other confirmed publishes, any number at a time.
    pub confirmed: Mutex<Option<Channel>>,
    /// For publishes without confirms.
    pub plain: Mutex<Option<Channel>>,
    /// For declarations.
    pub declare: Mutex<Option<Channel>>,
}

impl AmqpLink {
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            lost: CancellationToken::new(),
            out_of_channels: AtomicBool::new(false),
            mandatory: Mutex::default(),
            confirmed: Mutex::default(),
            plain: Mutex::default(),
            declare: Mutex::default(),
        }
    }

    pub fn is_usable(&self) -> bool {
        self.connection.status().connected() && !self.out_of_channels.load(Relaxed)
    }

    /// Whether the connection is open, usable or not.
    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    /// Ends all waits for answers on this connection.
    pub fn give_up(&self) {
        self.lost.cancel();
    }

    /// Cancelled when the connection is lost.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Runs a request on this connection; `None` when the connection is lost first. Otherwise a request that is under way at
    /// that moment could wait for ever: lapin does not answer all of them.
    pub async fn unless_lost<T>(&self, run: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = run => Some(done),
            () = self.lost.cancelled() => None,
        }
    }

    /// A new channel.
    ///
    /// lapin never uses the number of a channel again that the broker closed, but answers for it with the old error. As the
    /// numbers are few, a connection that cannot open a channel is given up for a new one.
    pub async fn channel(&self) -> Result<Channel, lapin::Error> {
        let opened = self.connection.create_channel().await;
        if let Err(error) = &opened
            && self.connection.status().connected()
        {
            tracing::debug!(%error, "connection has no more channels");
            self.out_of_channels.store(true, Relaxed);
        }
        opened
    }

    pub async fn confirm_channel(&self) -> Result<Channel, lapin::Error> {
        let channel = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// Closes the connection in order, or gives up after two seconds.
    pub async fn close(&self) {
        let close = self.connection.close(200, "closed".into());
        if !matches!(tokio::time::timeout(Duration::from_secs(2), close).await, Ok(Ok(()))) {
            tracing::debug!("connection not closed in order");
        }
    }
}

impl LiveLink for Arc<AmqpLink> {
    fn is_alive(&self) -> bool {
        self.is_usable()
    }
}

impl fmt::Debug for AmqpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpLink").finish_non_exhaustive()
    }
}

/// The channel error with which the broker answered, if this is one.
pub(super) fn soft_error(error: &lapin::Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// Whether the broker refused this one request and kept the connection.
pub(super) fn is_soft(error: &lapin::Error) -> bool {
    soft_error(error).is_some()
}
