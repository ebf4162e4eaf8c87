//! The connecting side.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::frame::{SocketAnswer, SocketCall, SocketRequest, WireError, WireSubscription, encode, read};
use crate::{
    broker::{
        delivery::Delivery,
        error::{BrokerError, PublishError},
        publish::{Guarantee, Publish},
        queue::TaskQueue,
        subscription::{Broadcast, Subscription},
        traits::{Broker, Consumer},
    },
    connection::{ConnectOptions, ConnectionState},
    sync::lock,
};

/// Replies that may wait for a consumer that does not take them; more are dropped.
const MAX_WAITING_REPLIES: usize = 4096;

/// A connection to the in-process broker of another process.
pub struct SocketBroker {
    path: PathBuf,
    timeout: Duration,
    client: Arc<SocketClient>,
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    reading: tokio::task::AbortHandle,
}

/// The part of a connection that its reader and its callers share.
struct SocketClient {
    next_id: AtomicU64,
    state: watch::Sender<ConnectionState>,
    waiters: Mutex<SocketWaiters>,
}

/// The calls without an answer, and the consumers.
#[derive(Default)]
struct SocketWaiters {
    ended: bool,
    calls: HashMap<u64, oneshot::Sender<Result<(), WireError>>>,
    consumers: HashMap<String, mpsc::Sender<Delivery>>,
}

impl SocketClient {
    fn lock(&self) -> MutexGuard<'_, SocketWaiters> {
        lock(&self.waiters)
    }

    /// Fails all waiting calls and ends all consumers. Later calls fail.
    fn end(&self, reason: Option<String>) {
        let mut waiters = self.lock();
        waiters.ended = true;
        waiters.calls.clear();
        waiters.consumers.clear();
        drop(waiters);
        self.state.send_modify(|state| state.down(reason));
    }
}

impl SocketBroker {
    /// Connects to the process that serves `path`.
    ///
    /// # Errors
    /// If no process does, or it belongs to another user.
    pub async fn connect(path: &Path, options: ConnectOptions) -> std::io::Result<Self> {
        let stream = tokio::time::timeout(options.connect_timeout, UnixStream::connect(path)).await??;
        let (reader, writer) = stream.into_split();
        let client = Arc::new(SocketClient {
            next_id: AtomicU64::new(0),
            state: watch::Sender::new(ConnectionState::connected()),
            waiters: Mutex::default(),
        });
        let reading = tokio::spawn(receive(reader, client.clone())).abort_handle();
        Ok(Self {
            path: path.to_owned(),
            timeout: options.operation_timeout,
            client,
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            reading,
        })
    }

    fn lost(&self) -> WireError {
        WireError::Unavailable { reason: format!("the process serving {} is gone", self.path.display()) }
    }

    async fn call(&self, call: SocketCall) -> Result<(), WireError> {
        let id = self.client.next_id.fetch_add(1, Ordering::Relaxed);
        let frame =
            encode(&SocketRequest { id, call }).map_err(|error| WireError::Refused { reason: error.to_string() })?;
        let (sender, answer) = oneshot::channel();
        {
            let mut waiters = self.client.lock();
            if waiters.ended {
                return Err(self.lost());
            }
            waiters.calls.insert(id, sender);
        }
        let writer = self.writer.clone();
        // In a task of its own, so that a caller that gives up leaves no half frame behind.
        let writing = tokio::spawn(async move { writer.lock().await.write_all(&frame).await });
        let exchange = async {
            match writing.await {
                Ok(Ok(())) => answer.await.unwrap_or(Err(WireError::Timeout)),
                _ => Err(self.lost()),
            }
        };
        let outcome = tokio::time::timeout(self.timeout, exchange).await;
        self.client.lock().calls.remove(&id);
        outcome.unwrap_or(Err(WireError::Timeout))
    }

    /// A consumer of the deliveries from `queue`, once `call` was answered.
    async fn receive_from(&self, queue: &str, call: SocketCall, what: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        let (sender, deliveries) = mpsc::channel(MAX_WAITING_REPLIES);
        self.client.lock().consumers.insert(queue.to_owned(), sender);
        let consumer = SocketConsumer {
            name: queue.to_owned(),
            deliveries,
            client: self.client.clone(),
            writer: self.writer.clone(),
        };
        self.declare(call, what).await?;
        Ok(Box::new(consumer))
    }

    async fn declare(&self, call: SocketCall, what: &str) -> Result<(), BrokerError> {
        self.call(call).await.map_err(|error| match error {
            WireError::Refused { reason } => BrokerError::Refused { what: what.to_owned(), reason },
            WireError::Unavailable { reason } => BrokerError::Unavailable { reason },
            WireError::Unroutable { .. } | WireError::Timeout => {
                BrokerError::Unavailable { reason: "no answer in time".to_owned() }
            }
        })
    }
}

async fn receive(mut reader: OwnedReadHalf, client: Arc<SocketClient>) {
    let reason = loop {
        match read::<SocketAnswer>(&mut reader).await {
            Ok(Some(answer)) => dispatch(answer, &client),
            Ok(None) => break "the other side closed the connection".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    client.end(Some(reason));
}

fn dispatch(answer: SocketAnswer, client: &SocketClient) {
    let mut waiters = client.lock();
    match answer {
        SocketAnswer::Done { id } => {
            // The caller may have given up.
            let _ = waiters.calls.remove(&id).map(|call| call.send(Ok(())));
        }
        SocketAnswer::Failed { id, error } => {
            let _ = waiters.calls.remove(&id).map(|call| call.send(Err(error)));
        }
        SocketAnswer::Delivery { queue, exchange, routing_key, redelivered, message } => {
            let Ok(message) = (*message).try_into() else {
                tracing::warn!(queue, "reply dropped: its body is not base64");
                return;
            };
            let delivery = Delivery::new(message, exchange, routing_key, redelivered, 1, None);
            if let Some(consumer) = waiters.consumers.get(&queue)
                && consumer.try_send(delivery).is_err()
            {
                tracing::warn!(queue, "reply dropped: too many are waiting");
            }
        }
    }
}

#[async_trait]
impl Broker for SocketBroker {
    async fn declare_task_queue(&self, _queue: &TaskQueue) -> Result<(), BrokerError> {
        Err(BrokerError::Unsupported("declare task queues: only the process that hosts the workers does"))
    }

    async fn declare_reply_queue(&self, name: &str) -> Result<(), BrokerError> {
        self.declare(SocketCall::DeclareReplies { queue: name.to_owned() }, "the reply queue").await
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        let mandatory = publish.guarantee == Guarantee::Confirmed { mandatory: true };
        let call = SocketCall::Publish {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            mandatory,
            message: Box::new((&publish.message).into()),
        };
        self.call(call).await.map_err(PublishError::from)
    }

    async fn consume(&self, _queue: &TaskQueue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Unsupported("consume task queues: only the process that hosts the workers does"))
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.receive_from(name, SocketCall::ConsumeReplies { queue: name.to_owned() }, "the reply consumer").await
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        let to = match subscription.clone() {
            Subscription::ControlRequests { .. } => {
                return Err(BrokerError::Unsupported(
                    "take control requests: only the process that hosts the workers does",
                ));
            }
            Subscription::ControlReplies { client } => WireSubscription::ControlReplies { client },
            Subscription::Events { id, binding } => WireSubscription::Events { id, binding },
        };
        self.receive_from(&subscription.mailbox().queue.name, SocketCall::Subscribe { to }, "the subscription").await
    }

    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError> {
        self.declare(SocketCall::DeclareBroadcast { exchange: broadcast.exchange().to_owned() }, "the exchange").await
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.client.state.subscribe()
    }

    async fn close(&self) {
        self.reading.abort();
        self.client.end(None);
        if let Err(error) = self.writer.lock().await.shutdown().await {
            tracing::debug!(%error, "socket already closed");
        }
    }
}

impl Drop for SocketBroker {
    fn drop(&mut self) {
        self.reading.abort();
        self.client.end(None);
    }
}

impl fmt::Debug for SocketBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketBroker").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A consumer of replies or broadcasts.
struct SocketConsumer {
    name: String,
    deliveries: mpsc::Receiver<Delivery>,
    client: Arc<SocketClient>,
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
}

#[async_trait]
impl Consumer for SocketConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    async fn cancel(&mut self) {
        if let Some(notifying) = self.stop() {
            notifying.await;
        }
    }
}

impl SocketConsumer {
    /// Stops the consumer. The returned future notifies the other side; `None` if that was done before.
    fn stop(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        self.deliveries.close();
        self.client.lock().consumers.remove(&self.name)?;
        let id = self.client.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(&SocketRequest { id, call: SocketCall::CancelReplies { queue: self.name.clone() } }).ok()?;
        let writer = self.writer.clone();
        Some(async move {
            if let Err(error) = writer.lock().await.write_all(&frame).await {
                tracing::debug!(%error, "socket already closed");
            }
        })
    }
}

impl Drop for SocketConsumer {
    fn drop(&mut self) {
        // Outside a runtime the process is ending, and the connection with it.
        if let (Some(notifying), Ok(runtime)) = (self.stop(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(notifying);
        }
    }
}

impl fmt::Debug for SocketConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketConsumer").field("name", &self.name).finish_non_exhaustive()
    }
}
