//! Publishing over whatever connection there is.

use std::{sync::Arc, time::Duration};

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

/// How often the broker may close the shared channel under a message before the message is held to be the reason.
const STRIKES: u32 = 3;

pub(super) struct Publisher {
    shared: Arc<Shared>,
}

struct Prepared {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Vec<u8>,
    guarantee: Guarantee,
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
    Refused(String),
}

impl Publisher {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        let invalid = |error: lapin::Error| PublishError::Invalid { reason: error.to_string() };
        let prepared = Prepared {
            exchange: short(&publish.exchange).map_err(invalid)?,
            routing_key: short(&publish.routing_key).map_err(invalid)?,
            properties: to_properties(&publish.message).map_err(invalid)?,
            body: publish.message.body,
            guarantee: publish.guarantee,
        };
        // Set before each write, so that a timeout knows whether somebody may have seen the message.
        let sent = std::sync::atomic::AtomicBool::new(false);
        let attempts = async {
            let mut strikes = 0;
            loop {
                let Some(link) = self.shared.link().await else {
                    return Err(PublishError::Closed);
                };
                match link.unless_lost(attempt(&link, &prepared, &sent)).await.unwrap_or(Err(Failure::Unknown)) {
                    Ok(()) => return Ok(()),
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Refused(reason)) => {
                        strikes += 1;
                        if strikes >= STRIKES {
                            return Err(PublishError::Refused { reason });
                        }
                    }
                    Err(Failure::NotSent | Failure::Unknown) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        match tokio::time::timeout(self.shared.options.operation_timeout, attempts).await {
            Ok(outcome) => outcome,
            Err(_) if sent.load(std::sync::atomic::Ordering::Relaxed) => Err(PublishError::Timeout),
            Err(_) => Err(PublishError::Unavailable { reason: self.shared.reason() }),
        }
    }
}

async fn attempt(link: &Link, publish: &Prepared, sent: &std::sync::atomic::AtomicBool) -> Result<(), Failure> {
    match publish.guarantee {
        Guarantee::Confirmed { mandatory: true } => {
            let mut slot = link.mandatory.lock().await;
            // Taken out while in use: should this future be dropped, so is the channel, and with it a late answer.
            let channel = match slot.take().filter(usable) {
                Some(channel) => channel,
                None => link.confirm_channel().await.map_err(|_| Failure::NotSent)?,
            };
            let confirmation = send(&channel, publish, sent).await?;
            *slot = Some(channel);
            judge(confirmation, publish)
        }
        Guarantee::Confirmed { mandatory: false } => {
            let channel = shared_channel(&link.confirmed, link.confirm_channel()).await?;
            judge(send(&channel, publish, sent).await?, publish)
        }
        // A reply nobody has to be sure of, such as progress, still comes before the result that is sent after it.
        Guarantee::FireAndForget if publish.exchange.as_str().is_empty() => {
            let channel = shared_channel(&link.confirmed, link.confirm_channel()).await?;
            let confirm = put(&channel, publish, sent).await?;
            // One that is dropped unheard would be kept with the channel.
            tokio::spawn(async move { drop(confirm.await) });
            Ok(())
        }
        Guarantee::FireAndForget => {
            let channel = shared_channel(&link.plain, link.channel()).await?;
            send(&channel, publish, sent).await.map(drop)
        }
    }
}

fn usable(channel: &Channel) -> bool {
    channel.status().connected()
}

async fn shared_channel(
    slot: &Mutex<Option<Channel>>,
    open: impl Future<Output = Result<Channel, lapin::Error>>,
) -> Result<Channel, Failure> {
    let mut slot = slot.lock().await;
    if let Some(channel) = slot.as_ref().filter(|channel| usable(channel)) {
        return Ok(channel.clone());
    }
    let channel = open.await.map_err(|_| Failure::NotSent)?;
    *slot = Some(channel.clone());
    Ok(channel)
}

async fn send(
    channel: &Channel,
    publish: &Prepared,
    sent: &std::sync::atomic::AtomicBool,
) -> Result<Confirmation, Failure> {
    put(channel, publish, sent).await?.await.map_err(|error| failure(&error, publish))
}

/// Writes the message; what is returned becomes the broker's word on it.
async fn put(
    channel: &Channel,
    publish: &Prepared,
    sent: &std::sync::atomic::AtomicBool,
) -> Result<PublisherConfirm, Failure> {
    let options = BasicPublishOptions {
        mandatory: publish.guarantee == Guarantee::Confirmed { mandatory: true },
        ..BasicPublishOptions::default()
    };
    sent.store(true, std::sync::atomic::Ordering::Relaxed);
    channel
        .basic_publish(
            publish.exchange.clone(),
            publish.routing_key.clone(),
            options,
            &publish.body,
            publish.properties.clone(),
        )
        .await
        .map_err(|error| failure(&error, publish))
}

fn judge(confirmation: Confirmation, publish: &Prepared) -> Result<(), Failure> {
    match confirmation {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::Final(unroutable(publish))),
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Nack(None) => {
            Err(Failure::Final(PublishError::Nacked { routing_key: publish.routing_key.as_str().to_owned() }))
        }
        // The channel was opened with confirm_select, so this cannot be; the outcome is unknown all the same.
        Confirmation::NotRequested => Err(Failure::Unknown),
    }
}

fn unroutable(publish: &Prepared) -> PublishError {
    PublishError::Unroutable {
        exchange: publish.exchange.as_str().to_owned(),
        routing_key: publish.routing_key.as_str().to_owned(),
    }
}

fn failure(error: &lapin::Error, publish: &Prepared) -> Failure {
    if is_invalid(error) {
        return Failure::Final(PublishError::Invalid { reason: error.to_string() });
    }
    // On the mandatory channel nothing else was under way, so the broker's complaint is about this message.
    let alone = publish.guarantee == Guarantee::Confirmed { mandatory: true };
    match soft_error(error) {
        Some(AMQPSoftError::NOTFOUND) if alone => Failure::Final(unroutable(publish)),
        Some(_) if alone => Failure::Final(PublishError::Refused { reason: error.to_string() }),
        Some(_) => Failure::Refused(error.to_string()),
        None => Failure::Unknown,
    }
}
