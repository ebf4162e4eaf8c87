//! One live connection and the channels publishers use on it.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use lapin::{
    Channel, Connection, ErrorKind,
    options::ConfirmSelectOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// A connection. Dropped when it is lost; whoever still holds it sees errors.
pub(super) struct Link {
    connection: Connection,
    lost: CancellationToken,
    /// It opens no further channels.
    worn_out: AtomicBool,
    /// For mandatory publishes, one at a time: a message returned by the broker is not tied to a confirm by the protocol, so
    /// with several under way the return could be taken for another's.
    pub mandatory: Mutex<Option<Channel>>,
    /// For other confirmed publishes, any number at a time.
    pub confirmed: Mutex<Option<Channel>>,
    /// For publishes without confirms.
    pub plain: Mutex<Option<Channel>>,
    /// For declarations.
    pub declare: Mutex<Option<Channel>>,
}

impl Link {
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            lost: CancellationToken::new(),
            worn_out: AtomicBool::new(false),
            mandatory: Mutex::default(),
            confirmed: Mutex::default(),
            plain: Mutex::default(),
            declare: Mutex::default(),
        }
    }

    pub fn is_alive(&self) -> bool {
        self.connection.status().connected() && !self.worn_out.load(Relaxed)
    }

    /// Whether there is something to close, be it of further use or not.
    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    /// Tells everybody who waits for an answer on this connection that there will be none.
    pub fn give_up(&self) {
        self.lost.cancel();
    }

    /// Cancelled when the connection is lost.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Runs what uses this connection; `None` when the connection was lost first. A request that is under way at that
    /// moment may otherwise wait for ever: lapin does not answer all of them.
    pub async fn unless_lost<T>(&self, run: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = run => Some(done),
            () = self.lost.cancelled() => None,
        }
    }

    /// A new channel. lapin uses the number of one that the broker closed never again, and answers for it with the old error
    /// when its turn comes; as the numbers are few, a connection that cannot open a channel is given up for a new one.
    pub async fn channel(&self) -> Result<Channel, lapin::Error> {
        let opened = self.connection.create_channel().await;
        if let Err(error) = &opened
            && self.connection.status().connected()
        {
            tracing::debug!(%error, "the connection opens no further channel");
            self.worn_out.store(true, Relaxed);
        }
        opened
    }

    pub async fn confirm_channel(&self) -> Result<Channel, lapin::Error> {
        let channel = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// Closes it politely, but not at any price.
    pub async fn close(&self) {
        let close = self.connection.close(200, "closed".into());
        if !matches!(tokio::time::timeout(Duration::from_secs(2), close).await, Ok(Ok(()))) {
            tracing::debug!("the connection did not close in an orderly way");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// The channel error the broker answered with, if that is what this is.
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
