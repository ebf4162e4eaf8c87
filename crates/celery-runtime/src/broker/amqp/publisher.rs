//! Publishing over whatever connection there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions, protocol::AMQPSoftError,
    types::ShortString,
};
use tokio::sync::Mutex;

use super::{
    Shared,
    convert::{is_invalid, short, to_properties},
    link::{Link, soft_error},
};
use crate::broker::{Guarantee, Publish, PublishError};

pub(super) struct Publisher {
    shared: Arc<Shared>,
}

/// What one attempt came to.
enum Failure {
    /// The outcome is final.
    Final(PublishError),
    /// Not sent; try on the next connection.
    NotSent,
    /// Perhaps sent; try again.
    Unknown,
    /// The broker closed the channel; the reason may be another message's.
    Refused,
}

impl Publisher {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub async fn publish(&self, publish: &Publish) -> Result<(), PublishError> {
        // Said at once, also while the broker is away.
        if self.shared.present().is_none() {
            prepare(publish).map_err(|error| PublishError::Invalid { reason: error.to_string() })?;
        }
        // Set before each write, so that a timeout knows whether somebody may have seen the message.
        let sent = AtomicBool::new(false);
        let attempts = async {
            let mut suspected = false;
            loop {
                let Some(link) = self.shared.link().await else {
                    return Err(PublishError::Closed);
                };
                let attempt = attempt(&link, publish, &sent, suspected);
                match link.unless_lost(attempt).await.unwrap_or(Err(Failure::Unknown)) {
                    Ok(()) => return Ok(()),
                    Err(Failure::Final(error)) => return Err(error),
                    // Sent once more where nothing else is under way, the broker's complaint can only be about it.
                    Err(Failure::Refused) => suspected = true,
                    Err(Failure::NotSent | Failure::Unknown) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        match tokio::time::timeout(self.shared.options.operation_timeout, attempts).await {
            Ok(outcome) => outcome,
            Err(_) if sent.load(Relaxed) => Err(PublishError::Timeout),
            Err(_) => Err(PublishError::Unavailable { reason: self.shared.reason() }),
        }
    }
}

async fn attempt(link: &Link, publish: &Publish, sent: &AtomicBool, suspected: bool) -> Result<(), Failure> {
    match publish.guarantee {
        _ if suspected => alone(link, publish, sent).await,
        Guarantee::Confirmed { mandatory: true } => alone(link, publish, sent).await,
        Guarantee::Confirmed { mandatory: false } => {
            let channel = shared_channel(&link.confirmed, || link.confirm_channel()).await?;
            judge(send(&channel, publish, sent, false).await?, publish)
        }
        // A reply nobody has to be sure of, such as progress, still comes before the result that is sent after it.
        Guarantee::FireAndForget if publish.exchange.is_empty() => {
            let channel = shared_channel(&link.confirmed, || link.confirm_channel()).await?;
            let confirm = put(&channel, publish, sent, false).await?;
            // One that is dropped unheard would be kept with the channel.
            tokio::spawn(async move { drop(confirm.await) });
            Ok(())
        }
        Guarantee::FireAndForget => {
            let channel = shared_channel(&link.plain, || link.channel()).await?;
            send(&channel, publish, sent, false).await.map(drop)
        }
    }
}

/// On a channel with nothing else under way.
async fn alone(link: &Link, publish: &Publish, sent: &AtomicBool) -> Result<(), Failure> {
    let mut slot = link.mandatory.lock().await;
    // Taken out while in use: should this future be dropped, so is the channel, and with it a late answer.
    let channel = match slot.take().filter(usable) {
        Some(channel) => channel,
        None => opened(link.confirm_channel()).await?,
    };
    let confirmation = send(&channel, publish, sent, true).await?;
    *slot = Some(channel);
    judge(confirmation, publish)
}

fn usable(channel: &Channel) -> bool {
    channel.status().connected()
}

async fn shared_channel<F>(slot: &Mutex<Option<Channel>>, open: impl FnOnce() -> F) -> Result<Channel, Failure>
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

/// Boxed because it is rare: a publish is a future of its own for each task in flight, as large as the largest of its parts.
async fn opened(open: impl Future<Output = Result<Channel, lapin::Error>> + Send) -> Result<Channel, Failure> {
    Box::pin(open).await.map_err(|_| Failure::NotSent)
}

fn prepare(publish: &Publish) -> Result<(ShortString, ShortString, BasicProperties), lapin::Error> {
    Ok((short(&publish.exchange)?, short(&publish.routing_key)?, to_properties(&publish.message)?))
}

async fn send(channel: &Channel, publish: &Publish, sent: &AtomicBool, alone: bool) -> Result<Confirmation, Failure> {
    put(channel, publish, sent, alone).await?.await.map_err(|error| failure(&error, publish, alone))
}

/// Writes the message; what is returned becomes the broker's word on it.
async fn put(
    channel: &Channel,
    publish: &Publish,
    sent: &AtomicBool,
    alone: bool,
) -> Result<PublisherConfirm, Failure> {
    let failed = |error| failure(&error, publish, alone);
    let (exchange, routing_key, properties) = prepare(publish).map_err(failed)?;
    let options = BasicPublishOptions {
        mandatory: publish.guarantee == Guarantee::Confirmed { mandatory: true },
        ..BasicPublishOptions::default()
    };
    sent.store(true, Relaxed);
    let writing = channel.basic_publish(exchange, routing_key, options, &publish.message.body, properties);
    Box::pin(writing).await.map_err(failed)
}

fn judge(confirmation: Confirmation, publish: &Publish) -> Result<(), Failure> {
    match confirmation {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::Final(unroutable(publish))),
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Nack(None) => {
            Err(Failure::Final(PublishError::Nacked { routing_key: publish.routing_key.clone() }))
        }
        // The channel was opened with confirm_select, so this cannot be; the outcome is unknown all the same.
        Confirmation::NotRequested => Err(Failure::Unknown),
    }
}

fn unroutable(publish: &Publish) -> PublishError {
    PublishError::Unroutable { exchange: publish.exchange.clone(), routing_key: publish.routing_key.clone() }
}

/// What became of an attempt; `alone` if nothing else was under way on its channel.
fn failure(error: &lapin::Error, publish: &Publish, alone: bool) -> Failure {
    if is_invalid(error) {
        return Failure::Final(PublishError::Invalid { reason: error.to_string() });
    }
    let mandatory = publish.guarantee == Guarantee::Confirmed { mandatory: true };
    match soft_error(error) {
        Some(AMQPSoftError::NOTFOUND) if alone && mandatory => Failure::Final(unroutable(publish)),
        Some(_) if alone => Failure::Final(PublishError::Refused { reason: error.to_string() }),
        Some(_) => Failure::Refused,
        None => Failure::Unknown,
    }
}
