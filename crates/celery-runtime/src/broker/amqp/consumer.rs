//! A consumer that takes up again after every loss.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use celery_protocol::topology::Mailbox;
use futures_util::StreamExt;
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    acks::Acks,
    convert::{from_delivery, short},
    link::{Link, is_soft, soft_error},
    topology,
};
use crate::broker::{Consumer, Delivery, Settle, TaskQueue, backoff::Backoff};

/// What is consumed, and how.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Tasks { queue: TaskQueue, prefetch: u16 },
    Replies { name: String },
    Broadcasts(Mailbox),
}

impl Source {
    fn queue(&self) -> &str {
        match self {
            Self::Tasks { queue, .. } => &queue.name,
            Self::Replies { name } => name,
            Self::Broadcasts(mailbox) => &mailbox.queue.name,
        }
    }

    fn no_ack(&self) -> bool {
        !matches!(self, Self::Tasks { .. })
    }
}

/// Broadcasts kept for a listener that does not take them; more are dropped.
const MAX_WAITING_BROADCASTS: usize = 4096;

/// How long a cancel waits for what is on its way. What comes later goes back with the channel.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// Told once: whether listening has begun, or why the broker refuses it.
type Listening = oneshot::Sender<Result<(), String>>;

pub(super) struct AmqpConsumer {
    queue: String,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    /// After a cancel: what had not been handed out has gone back.
    drained: CancellationToken,
    /// Ends the driver, and with it the channel.
    _end: tokio_util::sync::DropGuard,
}

impl AmqpConsumer {
    pub fn start(shared: Arc<Shared>, source: Source) -> Self {
        // What the broker may send unasked is bounded by prefetch; replies are taken as they come.
        Self::drive(shared, source, 64, None)
    }

    /// A consumer of broadcasts, and when it listens. It ends if it is refused.
    pub fn listen(shared: Arc<Shared>, mailbox: Mailbox) -> (Self, oneshot::Receiver<Result<(), String>>) {
        let (told, listening) = oneshot::channel();
        (Self::drive(shared, Source::Broadcasts(mailbox), MAX_WAITING_BROADCASTS, Some(told)), listening)
    }

    fn drive(shared: Arc<Shared>, source: Source, room: usize, listening: Option<Listening>) -> Self {
        let (sender, deliveries) = mpsc::channel(room);
        let (cancel, end, drained) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let queue = source.queue().to_owned();
        let driver = Driver {
            shared,
            source,
            sender,
            listening,
            cancel: cancel.clone(),
            end: end.clone(),
            drained: drained.clone(),
        };
        tokio::spawn(driver.run());
        Self { queue, deliveries, cancel, drained, _end: end.drop_guard() }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                delivery = self.deliveries.recv() => delivery?,
            };
            // The broker delivers it again, so running it now would be work done twice.
            if !delivery.is_stale() {
                return Some(delivery);
            }
            tracing::debug!(
                queue = self.queue,
                generation = delivery.generation,
                "dropped a delivery of an ended channel"
            );
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
        // From here on the driver gives back what it receives. The broker hears of the cancel first: it would send at once
        // what goes back before.
        self.deliveries.close();
        let _ = tokio::time::timeout(UNDER_WAY, self.drained.cancelled()).await;
        while let Some(delivery) = self.deliveries.recv().await {
            give_back(&self.queue, &delivery).await;
        }
    }
}

/// What was not handed out goes back at once: the channel may stay for as long as the last task that came by it.
async fn give_back(queue: &str, delivery: &Delivery) {
    if let Err(error) = delivery.reject(true).await {
        tracing::debug!(queue, %error, "what was not handed out goes back with its channel");
    }
}

impl fmt::Debug for AmqpConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConsumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}

struct Driver {
    shared: Arc<Shared>,
    source: Source,
    sender: mpsc::Sender<Delivery>,
    listening: Option<Listening>,
    cancel: CancellationToken,
    end: CancellationToken,
    drained: CancellationToken,
}

/// Why one subscription ended.
enum Ended {
    /// The consumer is gone or the broker was closed.
    ForGood,
    /// The channel or connection was lost after it had worked.
    Lost(String),
    /// It could not be started.
    Failed(lapin::Error),
}

impl Driver {
    async fn run(mut self) {
        let _drained = self.drained.clone().drop_guard();
        let mut backoff = Backoff::new(&self.shared.options);
        let queue = self.source.queue().to_owned();
        let mut complained = false;
        loop {
            let link = tokio::select! {
                () = self.end.cancelled() => return,
                () = self.cancel.cancelled() => return,
                link = self.shared.link() => match link {
                    Some(link) => link,
                    None => return,
                },
            };
            let ended = link.unless_lost(self.subscribe(&link)).await;
            match ended.unwrap_or_else(|| Ended::Lost("the connection was lost".to_owned())) {
                Ended::ForGood => return,
                Ended::Lost(reason) => {
                    backoff.reset();
                    complained = false;
                    tracing::warn!(queue, %reason, "consumer lost its channel, taking up again");
                }
                // Of a connection the broker has not noticed to be dead.
                Ended::Failed(error) if soft_error(&error) == Some(AMQPSoftError::RESOURCELOCKED) => {
                    tracing::debug!(queue, %error, "the queue is still another connection's, trying again");
                }
                Ended::Failed(error) if is_soft(&error) => {
                    if let Some(listening) = self.listening.take() {
                        // Nobody there: whoever asked gave up.
                        let _ = listening.send(Err(error.to_string()));
                        return;
                    }
                    // No work depends on broadcasts, so that saying it once is enough.
                    match matches!(self.source, Source::Broadcasts(_)) {
                        true if complained => tracing::debug!(queue, %error, "still refused"),
                        true => tracing::warn!(queue, %error, "the broker refuses a mailbox, trying again"),
                        false => tracing::error!(queue, %error, "the broker refuses the consumer, trying again"),
                    }
                    complained = true;
                }
                Ended::Failed(error) => {
                    tracing::debug!(queue, %error, "consumer could not start, trying again")
                }
            }
            tokio::select! {
                () = self.end.cancelled() => return,
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn subscribe(&mut self, link: &Link) -> Ended {
        let within = self.shared.options.operation_timeout;
        let mut opened = None;
        let (channel, mut stream) = match tokio::time::timeout(within, self.open(link, &mut opened)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => {
                // The answer may come yet, and lapin would keep the consumer for us: what it is sent would lie there unread.
                if let Some(channel) = opened {
                    let _ = tokio::time::timeout(UNDER_WAY, close(&channel)).await;
                }
                return Ended::Lost(format!("no answer within {within:?}"));
            }
        };
        let generation = self.shared.next_generation();
        let ended = CancellationToken::new();
        let _poison = ended.clone().drop_guard();
        let acks = Acks::start(channel.clone(), generation, ended);
        tracing::debug!(queue = self.source.queue(), generation, "consuming");
        if let Some(listening) = self.listening.take() {
            let _ = listening.send(Ok(()));
        }
        loop {
            let received = tokio::select! {
                () = self.end.cancelled() => return close(&channel).await,
                () = self.shared.closed.cancelled() => return close(&channel).await,
                () = self.cancel.cancelled() => return self.drain(&channel, stream, None, &acks).await,
                received = stream.next() => received,
            };
            let received = match received {
                Some(Ok(received)) => received,
                Some(Err(error)) => return Ended::Lost(error.to_string()),
                None => {
                    // What came by it is held by tasks that still run, and the channel with it: it goes back now.
                    close(&channel).await;
                    let reason =
                        if link.is_alive() { "the broker cancelled the consumer" } else { "the connection was lost" };
                    return Ended::Lost(reason.to_owned());
                }
            };
            let delivery = self.delivery(received, &acks);
            if matches!(self.source, Source::Broadcasts(_)) {
                match self.sender.try_send(delivery) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::debug!(queue = self.source.queue(), "dropped a broadcast nobody takes");
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return close(&channel).await,
                }
                continue;
            }
            // A place first: the delivery stays in hand, to be given back if there will be none.
            let place = tokio::select! {
                () = self.end.cancelled() => return close(&channel).await,
                () = self.shared.closed.cancelled() => return close(&channel).await,
                place = self.sender.reserve() => place,
            };
            match place {
                Ok(place) => place.send(delivery),
                Err(_) if self.cancel.is_cancelled() => {
                    return self.drain(&channel, stream, Some(delivery), &acks).await;
                }
                Err(_) => return close(&channel).await,
            }
        }
    }

    fn delivery(&self, mut received: lapin::message::Delivery, acks: &Arc<Acks>) -> Delivery {
        let message = from_delivery(&received.properties, std::mem::take(&mut received.data));
        let (exchange, routing_key) = (received.exchange.as_str().to_owned(), received.routing_key.as_str().to_owned());
        let redelivered = received.redelivered;
        let settle = (!self.source.no_ack()).then(|| Box::new(acks.open(received.delivery_tag)) as Box<dyn Settle>);
        Delivery::new(message, exchange, routing_key, redelivered, acks.generation, settle)
    }

    /// Declares, limits and consumes: all of it again on every new channel, which is in `opened` as soon as there is one.
    async fn open(
        &self,
        link: &Link,
        opened: &mut Option<Channel>,
    ) -> Result<(Channel, lapin::Consumer), lapin::Error> {
        match &self.source {
            Source::Tasks { queue, .. } => topology::task_queue(link, queue).await?,
            Source::Replies { name } => topology::reply_queue(link, name).await?,
            Source::Broadcasts(mailbox) => topology::mailbox(link, mailbox).await?,
        }
        let channel = opened.insert(link.channel().await?).clone();
        if let Source::Tasks { prefetch, .. } = &self.source {
            // Per consumer, as quorum queues insist.
            channel.basic_qos(*prefetch, BasicQosOptions { global: false }).await?;
        }
        let options = BasicConsumeOptions { no_ack: self.source.no_ack(), ..BasicConsumeOptions::default() };
        let stream =
            channel.basic_consume(short(self.source.queue())?, "".into(), options, FieldTable::default()).await?;
        Ok((channel, stream))
    }

    /// After a cancel: gives back what still comes, then keeps the channel, so that what was handed out can be acknowledged.
    async fn drain(
        &self,
        channel: &Channel,
        stream: lapin::Consumer,
        in_hand: Option<Delivery>,
        acks: &Arc<Acks>,
    ) -> Ended {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.shared.closed.cancelled() => {}
            () = async {
                self.stop(channel, stream, in_hand, acks).await;
                self.drained.cancel();
                std::future::pending().await
            } => {}
        }
        close(channel).await
    }

    async fn stop(&self, channel: &Channel, mut stream: lapin::Consumer, in_hand: Option<Delivery>, acks: &Arc<Acks>) {
        let queue = self.source.queue();
        if let Err(error) = channel.basic_cancel(stream.tag(), BasicCancelOptions::default()).await {
            tracing::debug!(queue, %error, "the consumer could not be cancelled, its channel is gone");
            return;
        }
        if let Some(delivery) = in_hand {
            give_back(queue, &delivery).await;
        }
        // It ends where the broker's answer stands.
        while let Some(Ok(received)) = stream.next().await {
            give_back(queue, &self.delivery(received, acks)).await;
        }
    }
}

/// Closing the channel returns what is unacknowledged to the queue.
async fn close(channel: &Channel) -> Ended {
    if let Err(error) = channel.close(200, "done".into()).await {
        tracing::debug!(%error, "the channel was gone already");
    }
    Ended::ForGood
}
