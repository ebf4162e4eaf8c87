//! Listening to what is published on channels: control requests and events.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::{Limits, redis::Envelope};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use crate::{
    broker::{BrokerError, Consumer, Delivery, backoff::Backoff},
    redis::{patience, words},
};

/// How many broadcasts may wait to be taken; what comes then is dropped.
const WAITING: usize = 1024;

pub(super) struct FanoutConsumer {
    pattern: String,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    _end: DropGuard,
}

impl FanoutConsumer {
    /// Returns when it listens.
    pub async fn start(shared: Arc<Shared>, pattern: String) -> Result<Self, BrokerError> {
        let (sender, deliveries) = mpsc::channel(WAITING);
        let cancel = CancellationToken::new();
        let driver = Driver { shared: shared.clone(), pattern: pattern.clone(), sender };
        let first = tokio::time::timeout(shared.redis.options.operation_timeout, driver.listen()).await;
        let first = match first {
            Ok(Some(listening)) => listening,
            Ok(None) => return Err(BrokerError::Closed),
            Err(_) => return Err(BrokerError::Unavailable { reason: shared.redis.reason() }),
        };
        let stop = cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = shared.redis.closed.cancelled() => {}
                () = driver.run(first) => {}
            }
        });
        Ok(Self { pattern, deliveries, cancel: cancel.clone(), _end: cancel.drop_guard() })
    }
}

#[async_trait]
impl Consumer for FanoutConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            delivery = self.deliveries.recv() => delivery,
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for FanoutConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanoutConsumer").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

struct Driver {
    shared: Arc<Shared>,
    pattern: String,
    sender: mpsc::Sender<Delivery>,
}

impl Driver {
    /// A connection that has subscribed; `None` once the broker was closed.
    async fn listen(&self) -> Option<(PubSubSink, PubSubStream)> {
        let mut backoff = Backoff::new(&self.shared.redis.options);
        loop {
            // Where commands get through a second connection is likely to.
            self.shared.redis.link().await?;
            let reason = match self.shared.redis.open_listener().await {
                Ok(mut listener) => match listener.psubscribe(&self.pattern).await {
                    Ok(()) => return Some(listener.split()),
                    Err(error) => words(&error),
                },
                Err(reason) => reason,
            };
            tracing::debug!(pattern = self.pattern, %reason, "cannot listen, trying again");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn run(self, first: (PubSubSink, PubSubStream)) {
        let mut listening = Some(first);
        while let Some((sink, stream)) = listening {
            let reason = tokio::select! {
                reason = self.forward(stream) => reason,
                reason = silent(sink, patience(&self.shared.redis.options)) => reason,
            };
            tracing::debug!(pattern = self.pattern, %reason, "a listener lost its connection, listening again");
            listening = self.listen().await;
        }
    }

    async fn forward(&self, mut stream: PubSubStream) -> String {
        let mut generation = self.shared.redis.present().map_or(0, |link| link.generation);
        while let Some(message) = stream.next().await {
            generation = self.shared.redis.present().map_or(generation, |link| link.generation);
            match Envelope::decode(message.get_payload_bytes(), &Limits::default()) {
                Ok(Envelope { message, exchange, routing_key, .. }) => {
                    let delivery = Delivery::new(message, exchange, routing_key, false, generation, None);
                    if self.sender.try_send(delivery).is_err() {
                        tracing::debug!(
                            pattern = self.pattern,
                            "dropped a broadcast: they come faster than they are taken"
                        );
                    }
                }
                Err(error) => tracing::warn!(pattern = self.pattern, %error, "dropped a broadcast that cannot be read"),
            }
        }
        "the connection ended".to_owned()
    }
}

/// Returns when Redis does not answer on this connection any more.
pub(crate) async fn silent(mut sink: PubSubSink, patience: std::time::Duration) -> String {
    loop {
        tokio::time::sleep(patience / 2).await;
        match tokio::time::timeout(patience, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return words(&error),
            Err(_) => return format!("no answer within {patience:?}"),
        }
    }
}
