//! The serving side.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags},
};
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream, unix::OwnedReadHalf},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::frame::{SocketAnswer, SocketCall, SocketRequest, WireError, read, write};
use crate::broker::{
    error::BrokerError,
    memory::{MemoryBroker, MemoryConnection},
    publish::{Guarantee, Publish},
    subscription::{Broadcast, Subscription},
    traits::{Broker, Consumer},
};

/// How many processes may be connected at a time.
const MAX_SOCKET_CONNECTIONS: usize = 64;
/// How many reply queues one connection may consume.
const MAX_REPLY_QUEUES: usize = 16;

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another process serves this path.
    #[error("{path} is being served by another process")]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path names something other than a socket.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot serve {path}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A bound socket that only its owner can read and write.
///
/// Holds a lock on `<path>.lock` as long as it lives, so that two processes never serve one path. A socket file left behind by
/// a dead process is replaced.
#[derive(Debug)]
pub struct SocketServer {
    path: PathBuf,
    listener: UnixListener,
    _lock: OwnedFd,
}

impl SocketServer {
    /// Binds the path. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(path: impl Into<PathBuf>) -> Result<Self, ServeError> {
        let path = path.into();
        let io = |source: std::io::Error| ServeError::Io { path: path.clone(), source };
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = rustix::fs::open(&lock_path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| io(error.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ServeError::InUse { path }),
            Err(error) => return Err(io(error.into())),
        }
        match rustix::fs::lstat(&path) {
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io(error.into())),
            Ok(found) => {
                if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_socket() {
                    return Err(ServeError::NotASocket { path });
                }
                // Also a server that does not use the lock keeps its socket.
                if UnixStream::connect(&path).await.is_ok() {
                    return Err(ServeError::InUse { path });
                }
                rustix::fs::unlink(&path).map_err(|error| io(error.into()))?;
            }
        }
        let socket = UnixSocket::new_stream().map_err(io)?;
        // Before bind, so that the file never exists with a wider mode.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| io(error.into()))?;
        socket.bind(&path).map_err(io)?;
        let listener = socket.listen(64).map_err(io)?;
        Ok(Self { path, listener, _lock: lock })
    }

    /// Serves until `shutdown`, then removes the socket file.
    pub async fn serve(self, broker: MemoryBroker, shutdown: CancellationToken) {
        let span = tracing::error_span!("broker_socket", socket.path = %self.path.display());
        self.accept(broker, shutdown).instrument(span).await;
    }

    async fn accept(self, broker: MemoryBroker, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_SOCKET_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !may_connect(&stream) {
                tracing::warn!("connection of another user refused");
                continue;
            }
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                tracing::warn!(limit = MAX_SOCKET_CONNECTIONS, "connection refused: too many connections");
                continue;
            };
            let broker = broker.connect();
            connections.spawn(
                async move {
                    serve_one(stream, broker).await;
                    drop(slot);
                }
                .in_current_span(),
            );
        }
        connections.shutdown().await;
        if let Err(error) = rustix::fs::unlink(&self.path) {
            tracing::debug!(%error, "socket file already gone");
        }
    }
}

/// Binds a socket and serves it: [`SocketServer::bind`], then [`SocketServer::serve`].
///
/// # Errors
/// As [`SocketServer::bind`].
pub async fn serve_socket(
    path: impl AsRef<Path>,
    broker: MemoryBroker,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    SocketServer::bind(path.as_ref()).await?.serve(broker, shutdown).await;
    Ok(())
}

/// Whether the peer is the owner or root, whatever the mode of the file is.
fn may_connect(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn serve_one(stream: UnixStream, broker: MemoryConnection) {
    let (reader, mut writer) = stream.into_split();
    let (answers, mut outgoing) = mpsc::channel::<SocketAnswer>(64);
    let writing = async move {
        while let Some(answer) = outgoing.recv().await {
            if let Err(error) = write(&mut writer, &answer).await {
                tracing::debug!(%error, "other side of the socket is gone");
                return;
            }
        }
    };
    let reading = async {
        if let Err(error) = answer_requests(reader, &broker, answers).await {
            tracing::debug!(%error, "socket connection ended");
        }
    };
    tokio::select! { () = writing => {}, () = reading => {} }
    broker.close().await;
}

async fn answer_requests(
    mut reader: OwnedReadHalf,
    broker: &MemoryConnection,
    answers: mpsc::Sender<SocketAnswer>,
) -> std::io::Result<()> {
    let mut consumers = ForwardedConsumers::new();
    while let Some(SocketRequest { id, call }) = read(&mut reader).await? {
        let outcome = match call {
            SocketCall::Publish { exchange, routing_key, mandatory, message } => match (*message).try_into() {
                Ok(message) => {
                    let guarantee = Guarantee::Confirmed { mandatory };
                    broker.publish(Publish { exchange, routing_key, message, guarantee }).await.map_err(WireError::from)
                }
                Err(_) => Err(WireError::Refused { reason: "the body is not base64".to_owned() }),
            },
            SocketCall::DeclareReplies { queue } => declare(broker, &queue).await,
            SocketCall::ConsumeReplies { queue } => {
                forwarded(&mut consumers, queue.clone(), &answers, broker.consume_replies(&queue)).await
            }
            SocketCall::Subscribe { to } => {
                let subscription = Subscription::from(to);
                let queue = subscription.mailbox().queue.name;
                forwarded(&mut consumers, queue, &answers, broker.subscribe(&subscription)).await
            }
            SocketCall::DeclareBroadcast { exchange } => match broadcast(&exchange) {
                Some(broadcast) => unavailable(broker.declare_broadcast(broadcast).await),
                None => Err(WireError::Refused { reason: format!("{exchange:?} is not an exchange for broadcasts") }),
            },
            SocketCall::CancelReplies { queue } => {
                consumers.remove(&queue);
                Ok(())
            }
        };
        let answer = match outcome {
            Ok(()) => SocketAnswer::Done { id },
            Err(error) => SocketAnswer::Failed { id, error },
        };
        if answers.send(answer).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The tasks that forward deliveries, by queue.
type ForwardedConsumers = HashMap<String, tokio_util::task::AbortOnDropHandle<()>>;

/// Starts a consumer whose deliveries go to the other side.
async fn forwarded(
    consumers: &mut ForwardedConsumers,
    queue: String,
    answers: &mpsc::Sender<SocketAnswer>,
    consumer: impl Future<Output = Result<Box<dyn Consumer>, BrokerError>>,
) -> Result<(), WireError> {
    if consumers.len() >= MAX_REPLY_QUEUES {
        return Err(WireError::Refused { reason: format!("more than {MAX_REPLY_QUEUES} reply queues") });
    }
    let consumer = consumer.await.map_err(|error| WireError::Unavailable { reason: error.to_string() })?;
    let task = tokio::spawn(forward(queue.clone(), consumer, answers.clone()));
    consumers.insert(queue, tokio_util::task::AbortOnDropHandle::new(task));
    Ok(())
}

fn broadcast(exchange: &str) -> Option<Broadcast> {
    let known = [Broadcast::ControlRequests, Broadcast::ControlReplies, Broadcast::Events];
    known.into_iter().find(|broadcast| broadcast.exchange() == exchange)
}

fn unavailable(outcome: Result<(), BrokerError>) -> Result<(), WireError> {
    outcome.map_err(|error| WireError::Unavailable { reason: error.to_string() })
}

async fn declare(broker: &MemoryConnection, queue: &str) -> Result<(), WireError> {
    unavailable(broker.declare_reply_queue(queue).await)
}

async fn forward(queue: String, mut consumer: Box<dyn Consumer>, answers: mpsc::Sender<SocketAnswer>) {
    while let Some(delivery) = consumer.next().await {
        let answer = SocketAnswer::Delivery {
            queue: queue.clone(),
            exchange: delivery.exchange.clone(),
            routing_key: delivery.routing_key.clone(),
            redelivered: delivery.redelivered,
            message: Box::new((&delivery.message).into()),
        };
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}
