//! Publishing over the present connection.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions, protocol::AMQPSoftError,
    types::ShortString,
};
use tokio::sync::Mutex;

use super::{
    connection::AmqpConnection,
    convert::{is_invalid, short, to_properties},
    link::{AmqpLink, soft_error},
};
use crate::broker::{
    error::PublishError,
    publish::{Guarantee, Publish},
};

/// How the channel of a message is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChannelUse {
    /// Other messages may be under way on it.
    Shared,
    /// No other message is under way on it, so an error of the channel is about this one.
    Exclusive,
}

/// How one attempt failed.
enum AttemptFailure {
    /// The outcome is final.
    Final(PublishError),
    /// Not sent; try on the next connection.
    NotSent,
    /// Perhaps sent; try again on the next connection.
    Unknown,
    /// The broker closed the channel; another message may be the reason.
    ChannelClosed,
}

/// Publishes on the present connection, and on the next while the outcome is unknown, until the time limit.
pub(super) async fn publish(connection: &AmqpConnection, publish: &Publish) -> Result<(), PublishError> {
    // An invalid message fails immediately, also while the broker is away.
    if connection.present().is_none() {
        prepare(publish).map_err(|error| PublishError::Invalid { reason: error.to_string() })?;
    }
    // Set before each write, so that a timeout knows whether a consumer may have seen the message.
    let sent = AtomicBool::new(false);
    let attempts = async {
        let mut channel_use = ChannelUse::Shared;
        loop {
            let Some(link) = connection.link().await else {
                return Err(PublishError::Closed);
            };
            let attempt = attempt(&link, publish, &sent, channel_use);
            match link.unless_lost(attempt).await.unwrap_or(Err(AttemptFailure::Unknown)) {
                Ok(()) => return Ok(()),
                Err(AttemptFailure::Final(error)) => return Err(error),
                // Sent again on a channel without other messages, the broker's error can only be about this one.
                Err(AttemptFailure::ChannelClosed) => channel_use = ChannelUse::Exclusive,
                Err(AttemptFailure::NotSent | AttemptFailure::Unknown) => {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
            }
        }
    };
    match tokio::time::timeout(connection.options.operation_timeout, attempts).await {
        Ok(outcome) => outcome,
        Err(_) if sent.load(Relaxed) => Err(PublishError::Timeout),
        Err(_) => Err(PublishError::Unavailable { reason: connection.reason() }),
    }
}

/// One attempt. A mandatory message always has the channel to itself.
async fn attempt(
    link: &AmqpLink,
    publish: &Publish,
    sent: &AtomicBool,
    channel_use: ChannelUse,
) -> Result<(), AttemptFailure> {
    match publish.guarantee {
        _ if channel_use == ChannelUse::Exclusive => publish_exclusively(link, publish, sent).await,
        Guarantee::Confirmed { mandatory: true } => publish_exclusively(link, publish, sent).await,
        Guarantee::Confirmed { mandatory: false } => {
            let channel = shared_channel(&link.confirmed, || link.confirm_channel()).await?;
            check(send(&channel, publish, sent, ChannelUse::Shared).await?, publish)
        }
        // A reply without a guarantee, such as progress, must still arrive before the result sent after it.
        Guarantee::FireAndForget if publish.exchange.is_empty() => {
            let channel = shared_channel(&link.confirmed, || link.confirm_channel()).await?;
            let confirm = put(&channel, publish, sent, ChannelUse::Shared).await?;
            // lapin would keep a confirm that is dropped before it arrives.
            tokio::spawn(async move { drop(confirm.await) });
            Ok(())
        }
        Guarantee::FireAndForget => {
            let channel = shared_channel(&link.plain, || link.channel()).await?;
            send(&channel, publish, sent, ChannelUse::Shared).await.map(drop)
        }
    }
}

/// Publishes on a channel with no other message under way.
async fn publish_exclusively(link: &AmqpLink, publish: &Publish, sent: &AtomicBool) -> Result<(), AttemptFailure> {
    let mut slot = link.mandatory.lock().await;
    // Taken out while in use: dropping this future drops the channel too, and with it a late answer.
    let channel = match slot.take().filter(usable) {
        Some(channel) => channel,
        None => opened(link.confirm_channel()).await?,
    };
    let confirmation = send(&channel, publish, sent, ChannelUse::Exclusive).await?;
    *slot = Some(channel);
    check(confirmation, publish)
}

fn usable(channel: &Channel) -> bool {
    channel.status().connected()
}

async fn shared_channel<F>(slot: &Mutex<Option<Channel>>, open: impl FnOnce() -> F) -> Result<Channel, AttemptFailure>
where
    F: Future<Output = Result<Channel, lapin::Error>> + Send,
{
    let mut slot = slot.lock().await;
    if let Some(channel) = slot.as_ref().filter(|channel| usable(channel)) {
        return Ok(channel.clone());
    }
    let channel = opened(open()).await?;
    *slot = Some(channel.clone());
    Ok(channel)
}

/// Boxed because it is rare: each task in flight holds the future of a publish, which is as large as its largest part.
async fn opened(open: impl Future<Output = Result<Channel, lapin::Error>> + Send) -> Result<Channel, AttemptFailure> {
    Box::pin(open).await.map_err(|_| AttemptFailure::NotSent)
}

fn prepare(publish: &Publish) -> Result<(ShortString, ShortString, BasicProperties), lapin::Error> {
    Ok((short(&publish.exchange)?, short(&publish.routing_key)?, to_properties(&publish.message)?))
}

async fn send(
    channel: &Channel,
    publish: &Publish,
    sent: &AtomicBool,
    channel_use: ChannelUse,
) -> Result<Confirmation, AttemptFailure> {
    put(channel, publish, sent, channel_use).await?.await.map_err(|error| failure(&error, publish, channel_use))
}

/// Writes the message. The returned future becomes the broker's confirm.
async fn put(
    channel: &Channel,
    publish: &Publish,
    sent: &AtomicBool,
    channel_use: ChannelUse,
) -> Result<PublisherConfirm, AttemptFailure> {
    let failed = |error| failure(&error, publish, channel_use);
    let (exchange, routing_key, properties) = prepare(publish).map_err(failed)?;
    let options = BasicPublishOptions {
        mandatory: publish.guarantee == Guarantee::Confirmed { mandatory: true },
        ..BasicPublishOptions::default()
    };
    sent.store(true, Relaxed);
    let writing = channel.basic_publish(exchange, routing_key, options, &publish.message.body, properties);
    Box::pin(writing).await.map_err(failed)
}

fn check(confirmation: Confirmation, publish: &Publish) -> Result<(), AttemptFailure> {
    match confirmation {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(AttemptFailure::Final(unroutable(publish))),
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Nack(None) => {
            Err(AttemptFailure::Final(PublishError::Nacked { routing_key: publish.routing_key.clone() }))
        }
        // Cannot happen, because the channel was opened with confirm_select; the outcome is unknown.
        Confirmation::NotRequested => Err(AttemptFailure::Unknown),
    }
}

fn unroutable(publish: &Publish) -> PublishError {
    PublishError::Unroutable { exchange: publish.exchange.clone(), routing_key: publish.routing_key.clone() }
}

/// How an attempt failed.
fn failure(error: &lapin::Error, publish: &Publish, channel_use: ChannelUse) -> AttemptFailure {
    if is_invalid(error) {
        return AttemptFailure::Final(PublishError::Invalid { reason: error.to_string() });
    }
    let mandatory = publish.guarantee == Guarantee::Confirmed { mandatory: true };
    let exclusive = channel_use == ChannelUse::Exclusive;
    match soft_error(error) {
        Some(AMQPSoftError::NOTFOUND) if exclusive && mandatory => AttemptFailure::Final(unroutable(publish)),
        Some(_) if exclusive => AttemptFailure::Final(PublishError::Refused { reason: error.to_string() }),
        Some(_) => AttemptFailure::ChannelClosed,
        None => AttemptFailure::Unknown,
    }
}
