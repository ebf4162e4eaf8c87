//! The task behind a consumer: it opens a channel, forwards deliveries, and starts again after every loss.

use std::sync::Arc;

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
    acks::ChannelAcks,
    connection::AmqpConnection,
    convert::{from_delivery, short},
    link::{AmqpLink, is_soft, soft_error},
    source::AmqpSource,
    topology,
};
use crate::{
    broker::{
        delivery::{Delivery, Settle},
        traits::CANCEL_TIMEOUT,
    },
    connection::{Backoff, ConnectionError},
};

/// Reports once whether listening has begun, or why the broker refuses it.
pub(super) type ListeningReport = oneshot::Sender<Result<(), lapin::Error>>;

/// Requeues a delivery that was not handed out. Otherwise it would wait for the end of the channel, which stays as long as the
/// last task that came by it.
pub(super) async fn requeue(delivery: &Delivery) {
    if let Err(error) = delivery.reject(true).await {
        tracing::debug!(%error, "failed to requeue a prefetched message; it returns with its channel");
    }
}

pub(super) struct AmqpConsumerDriver {
    pub connection: Arc<AmqpConnection>,
    pub source: AmqpSource,
    pub sender: mpsc::Sender<Delivery>,
    pub listening: Option<ListeningReport>,
    /// The consumer takes nothing more.
    pub cancel: CancellationToken,
    /// The consumer was dropped.
    pub end: CancellationToken,
    /// Cancelled here when nothing more will be sent, or everything was requeued.
    pub drained: CancellationToken,
}

/// Why one subscription ended.
enum AmqpSubscriptionEnd {
    /// The consumer is gone, or the broker was closed.
    Final,
    /// The channel or connection was lost after it had worked.
    Lost(ConnectionError),
    /// The subscription could not be started.
    NotStarted(lapin::Error),
}

impl AmqpConsumerDriver {
    pub async fn run(mut self) {
        let _drained = self.drained.clone().drop_guard();
        let mut backoff = Backoff::new(&self.connection.options);
        let mut warned = false;
        loop {
            let link = tokio::select! {
                () = self.end.cancelled() => return,
                () = self.cancel.cancelled() => return,
                link = self.connection.link() => match link {
                    Some(link) => link,
                    None => return,
                },
            };
            let ended = link.unless_lost(self.subscribe(&link)).await;
            match ended.unwrap_or_else(|| AmqpSubscriptionEnd::Lost(ConnectionError::Ended)) {
                AmqpSubscriptionEnd::Final => return,
                AmqpSubscriptionEnd::Lost(reason) => {
                    backoff.reset();
                    warned = false;
                    tracing::warn!(error = %reason, "consumer lost its channel; consuming again");
                }
                // The queue of a dead connection that the broker still believes to be alive.
                AmqpSubscriptionEnd::NotStarted(error) if soft_error(&error) == Some(AMQPSoftError::RESOURCELOCKED) => {
                    tracing::debug!(%error, "queue still held by another connection; retrying");
                }
                AmqpSubscriptionEnd::NotStarted(error) if is_soft(&error) => {
                    if let Some(listening) = self.listening.take() {
                        // The subscriber may have given up.
                        let _ = listening.send(Err(error));
                        return;
                    }
                    // No work depends on broadcasts, so one warning is enough.
                    match self.source.is_broadcast() {
                        true if warned => tracing::debug!(%error, "broker still rejects the mailbox; retrying"),
                        true => tracing::warn!(%error, "broker rejected the mailbox; retrying"),
                        false => tracing::error!(%error, "broker rejected the consumer; retrying"),
                    }
                    warned = true;
                }
                AmqpSubscriptionEnd::NotStarted(error) => {
                    tracing::debug!(%error, "consumer not started; retrying")
                }
            }
            tokio::select! {
                () = self.end.cancelled() => return,
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn subscribe(&mut self, link: &AmqpLink) -> AmqpSubscriptionEnd {
        let within = self.connection.options.operation_timeout;
        let mut opened = None;
        let (channel, mut stream) = match tokio::time::timeout(within, self.open(link, &mut opened)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return AmqpSubscriptionEnd::NotStarted(error),
            Err(_) => {
                // The answer may still come. lapin would then keep the consumer, and its deliveries would lie there unread.
                if let Some(channel) = opened {
                    let _ = tokio::time::timeout(CANCEL_TIMEOUT, close(&channel)).await;
                }
                return AmqpSubscriptionEnd::Lost(ConnectionError::NoAnswer(within));
            }
        };
        let generation = self.connection.next_generation();
        let ended = CancellationToken::new();
        let _ended = ended.clone().drop_guard();
        let acks = ChannelAcks::start(channel.clone(), generation, ended);
        tracing::debug!(generation, "consuming");
        if let Some(listening) = self.listening.take() {
            let _ = listening.send(Ok(()));
        }
        loop {
            let received = tokio::select! {
                () = self.end.cancelled() => return close(&channel).await,
                () = self.connection.closed.cancelled() => return close(&channel).await,
                () = self.cancel.cancelled() => return self.drain(&channel, stream, None, &acks).await,
                received = stream.next() => received,
            };
            let received = match received {
                Some(Ok(received)) => received,
                Some(Err(error)) => return AmqpSubscriptionEnd::Lost(error.into()),
                None => {
                    // Running tasks keep the channel open; closing it requeues the others now.
                    close(&channel).await;
                    return AmqpSubscriptionEnd::Lost(match link.is_usable() {
                        true => ConnectionError::ConsumerCancelled,
                        false => ConnectionError::Ended,
                    });
                }
            };
            let delivery = self.delivery(received, &acks);
            if self.source.is_broadcast() {
                match self.sender.try_send(delivery) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::debug!("broadcast dropped: too many are waiting");
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return close(&channel).await,
                }
                continue;
            }
            // Reserves a permit first: the delivery stays here, to be requeued if there is none.
            let permit = tokio::select! {
                () = self.end.cancelled() => return close(&channel).await,
                () = self.connection.closed.cancelled() => return close(&channel).await,
                permit = self.sender.reserve() => permit,
            };
            match permit {
                Ok(permit) => permit.send(delivery),
                Err(_) if self.cancel.is_cancelled() => {
                    return self.drain(&channel, stream, Some(delivery), &acks).await;
                }
                Err(_) => return close(&channel).await,
            }
        }
    }

    fn delivery(&self, mut received: lapin::message::Delivery, acks: &Arc<ChannelAcks>) -> Delivery {
        let message = from_delivery(&received.properties, std::mem::take(&mut received.data));
        let (exchange, routing_key) = (received.exchange.as_str().to_owned(), received.routing_key.as_str().to_owned());
        let redelivered = received.redelivered;
        let settle = (!self.source.no_ack()).then(|| Box::new(acks.register(received.delivery_tag)) as Box<dyn Settle>);
        Delivery::new(message, exchange, routing_key, redelivered, acks.generation, settle)
    }

    /// Declares the queue, sets the prefetch and consumes, on a new channel.
    ///
    /// `opened` holds the channel as soon as it is open. It is a parameter and no result, because the caller closes the channel
    /// also after it has dropped this future at its time limit.
    async fn open(
        &self,
        link: &AmqpLink,
        opened: &mut Option<Channel>,
    ) -> Result<(Channel, lapin::Consumer), lapin::Error> {
        match &self.source {
            AmqpSource::Tasks { queue, .. } => topology::task_queue(link, queue).await?,
            AmqpSource::Replies { name } => topology::reply_queue(link, name).await?,
            AmqpSource::Broadcasts(mailbox) => topology::mailbox(link, mailbox).await?,
        }
        let channel = opened.insert(link.channel().await?).clone();
        if let AmqpSource::Tasks { prefetch, .. } = &self.source {
            // Per consumer, as quorum queues require.
            channel.basic_qos(*prefetch, BasicQosOptions { global: false }).await?;
        }
        let options = BasicConsumeOptions { no_ack: self.source.no_ack(), ..BasicConsumeOptions::default() };
        let stream =
            channel.basic_consume(short(self.source.queue())?, "".into(), options, FieldTable::default()).await?;
        Ok((channel, stream))
    }

    /// After a cancel: requeues what still arrives, then keeps the channel open, so that handed-out deliveries can be
    /// acknowledged.
    async fn drain(
        &self,
        channel: &Channel,
        stream: lapin::Consumer,
        in_hand: Option<Delivery>,
        acks: &Arc<ChannelAcks>,
    ) -> AmqpSubscriptionEnd {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.connection.closed.cancelled() => {}
            () = async {
                self.stop(channel, stream, in_hand, acks).await;
                self.drained.cancel();
                std::future::pending().await
            } => {}
        }
        close(channel).await
    }

    async fn stop(
        &self,
        channel: &Channel,
        mut stream: lapin::Consumer,
        in_hand: Option<Delivery>,
        acks: &Arc<ChannelAcks>,
    ) {
        if let Err(error) = channel.basic_cancel(stream.tag(), BasicCancelOptions::default()).await {
            tracing::debug!(%error, "consumer not cancelled: its channel is gone");
            return;
        }
        if let Some(delivery) = in_hand {
            requeue(&delivery).await;
        }
        // The stream ends at the broker's answer.
        while let Some(Ok(received)) = stream.next().await {
            requeue(&self.delivery(received, acks)).await;
        }
    }
}

/// Closes the channel, which requeues its unacknowledged deliveries.
async fn close(channel: &Channel) -> AmqpSubscriptionEnd {
    if let Err(error) = channel.close(200, "done".into()).await {
        tracing::debug!(%error, "channel already gone");
    }
    AmqpSubscriptionEnd::Final
}
