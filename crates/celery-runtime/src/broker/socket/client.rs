//! The connecting side.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use super::frame::{Answer, Call, Request, WireError, WireSubscription, encode, read};
use crate::broker::{
    Broadcast, Broker, BrokerError, ConnectOptions, ConnectionState, Consumer, Delivery, Guarantee, Publish,
    PublishError, Subscription, TaskQueue,
};

/// Replies kept for a consumer that does not ask for them; more are dropped.
const MAX_WAITING_REPLIES: usize = 4096;

/// A connection to the in-process broker of another process.
pub struct SocketBroker {
    path: PathBuf,
    timeout: Duration,
    shared: Arc<Shared>,
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    reading: tokio::task::AbortHandle,
}

struct Shared {
    next_id: AtomicU64,
    state: watch::Sender<ConnectionState>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    ended: bool,
    waiting: HashMap<u64, oneshot::Sender<Result<(), WireError>>>,
    consumers: HashMap<String, mpsc::Sender<Delivery>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails everybody who waits; nothing can be asked any more.
    fn end(&self, reason: Option<String>) {
        let mut table = self.lock();
        table.ended = true;
        table.waiting.clear();
        table.consumers.clear();
        drop(table);
        self.state.send_modify(|state| state.down(reason));
    }
}

impl SocketBroker {
    /// Connects to the process that serves `path`.
    ///
    /// # Errors
    /// If nobody does, or it belongs to another user.
    pub async fn connect(path: &Path, options: ConnectOptions) -> std::io::Result<Self> {
        let stream = tokio::time::timeout(options.connect_timeout, UnixStream::connect(path)).await??;
        let (reader, writer) = stream.into_split();
        let shared = Arc::new(Shared {
            next_id: AtomicU64::new(0),
            state: watch::Sender::new(ConnectionState::connected()),
            table: Mutex::default(),
        });
        let reading = tokio::spawn(receive(reader, shared.clone())).abort_handle();
        Ok(Self {
            path: path.to_owned(),
            timeout: options.operation_timeout,
            shared,
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            reading,
        })
    }

    fn lost(&self) -> WireError {
        WireError::Unavailable { reason: format!("the process serving {} is gone", self.path.display()) }
    }

    async fn call(&self, call: Call) -> Result<(), WireError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(&Request { id, call }).map_err(|error| WireError::Refused { reason: error.to_string() })?;
        let (sender, answer) = oneshot::channel();
        {
            let mut table = self.shared.lock();
            if table.ended {
                return Err(self.lost());
            }
            table.waiting.insert(id, sender);
        }
        let writer = self.writer.clone();
        // In a task of its own: a caller that gives up must not leave half a frame behind.
        let writing = tokio::spawn(async move { writer.lock().await.write_all(&frame).await });
        let exchange = async {
            match writing.await {
                Ok(Ok(())) => answer.await.unwrap_or(Err(WireError::Timeout)),
                _ => Err(self.lost()),
            }
        };
        let outcome = tokio::time::timeout(self.timeout, exchange).await;
        self.shared.lock().waiting.remove(&id);
        outcome.unwrap_or(Err(WireError::Timeout))
    }

    /// A consumer for what comes from `queue` once `call` was answered.
    async fn receive_from(&self, queue: &str, call: Call, what: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        let (sender, deliveries) = mpsc::channel(MAX_WAITING_REPLIES);
        self.shared.lock().consumers.insert(queue.to_owned(), sender);
        let consumer = SocketConsumer {
            name: queue.to_owned(),
            deliveries,
            shared: self.shared.clone(),
            writer: self.writer.clone(),
        };
        self.declare(call, what).await?;
        Ok(Box::new(consumer))
    }

    async fn declare(&self, call: Call, what: &str) -> Result<(), BrokerError> {
        self.call(call).await.map_err(|error| match error {
            WireError::Refused { reason } => BrokerError::Refused { what: what.to_owned(), reason },
            WireError::Unavailable { reason } => BrokerError::Unavailable { reason },
            WireError::Unroutable { .. } | WireError::Timeout => {
                BrokerError::Unavailable { reason: "no answer in time".to_owned() }
            }
        })
    }
}

async fn receive(mut reader: OwnedReadHalf, shared: Arc<Shared>) {
    let reason = loop {
        match read::<Answer>(&mut reader).await {
            Ok(Some(answer)) => dispatch(answer, &shared),
            Ok(None) => break "the other side closed the connection".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    shared.end(Some(reason));
}

fn dispatch(answer: Answer, shared: &Shared) {
    let mut table = shared.lock();
    match answer {
        Answer::Done { id } => {
            // Nobody there: the caller gave up.
            let _ = table.waiting.remove(&id).map(|waiting| waiting.send(Ok(())));
        }
        Answer::Failed { id, error } => {
            let _ = table.waiting.remove(&id).map(|waiting| waiting.send(Err(error)));
        }
        Answer::Delivery { queue, exchange, routing_key, redelivered, message } => {
            let Ok(message) = (*message).try_into() else {
                tracing::warn!(queue, "dropped a reply whose body is not base64");
                return;
            };
            let delivery = Delivery::new(message, exchange, routing_key, redelivered, 1, None);
            if let Some(consumer) = table.consumers.get(&queue)
                && consumer.try_send(delivery).is_err()
            {
                tracing::warn!(queue, "dropped a reply nobody takes");
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
        self.declare(Call::DeclareReplies { queue: name.to_owned() }, "the reply queue").await
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        let mandatory = publish.guarantee == Guarantee::Confirmed { mandatory: true };
        let call = Call::Publish {
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
        self.receive_from(name, Call::ConsumeReplies { queue: name.to_owned() }, "the reply consumer").await
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
        self.receive_from(&subscription.mailbox().queue.name, Call::Subscribe { to }, "the subscription").await
    }

    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError> {
        self.declare(Call::DeclareBroadcast { exchange: broadcast.exchange().to_owned() }, "the exchange").await
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    async fn close(&self) {
        self.reading.abort();
        self.shared.end(None);
        if let Err(error) = self.writer.lock().await.shutdown().await {
            tracing::debug!(%error, "the socket was closed already");
        }
    }
}

impl Drop for SocketBroker {
    fn drop(&mut self) {
        self.reading.abort();
        self.shared.end(None);
    }
}

impl fmt::Debug for SocketBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketBroker").field("path", &self.path).finish_non_exhaustive()
    }
}

struct SocketConsumer {
    name: String,
    deliveries: mpsc::Receiver<Delivery>,
    shared: Arc<Shared>,
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
}

#[async_trait]
impl Consumer for SocketConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    async fn cancel(&mut self) {
        if let Some(telling) = self.stop() {
            telling.await;
        }
    }
}

impl SocketConsumer {
    /// Takes nothing more; what is returned tells the other side so. `None` if that was done before.
    fn stop(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        self.deliveries.close();
        self.shared.lock().consumers.remove(&self.name)?;
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(&Request { id, call: Call::CancelReplies { queue: self.name.clone() } }).ok()?;
        let writer = self.writer.clone();
        Some(async move {
            if let Err(error) = writer.lock().await.write_all(&frame).await {
                tracing::debug!(%error, "the socket was closed already");
            }
        })
    }
}

impl Drop for SocketConsumer {
    fn drop(&mut self) {
        // Outside a runtime the process is ending, and the connection with it.
        if let (Some(telling), Ok(runtime)) = (self.stop(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(telling);
        }
    }
}

impl fmt::Debug for SocketConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketConsumer").field("name", &self.name).finish_non_exhaustive()
    }
}
