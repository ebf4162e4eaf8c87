//! Consumers of channels: control requests and events.

use std::sync::Arc;

use celery_protocol::{Limits, redis::Envelope};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::{
    broker_state::RedisBrokerState,
    consumer::{ConsumerTokens, RedisConsumer},
};
use crate::{
    broker::{delivery::Delivery, error::BrokerError},
    connection::{Backoff, ConnectionError},
    redis::{answer_timeout, silence},
};

/// How many broadcasts may wait for their listener; more are dropped.
const MAX_WAITING_CHANNEL_MESSAGES: usize = 1024;

/// Listens to the channels of a pattern. Returns when it listens.
pub(super) async fn listen(state: Arc<RedisBrokerState>, pattern: String) -> Result<RedisConsumer, BrokerError> {
    let (sender, deliveries) = mpsc::channel(MAX_WAITING_CHANNEL_MESSAGES);
    let tokens = ConsumerTokens::new();
    // Broadcasts are not requeued, so a cancel has nothing to wait for.
    tokens.idle.cancel();
    let span = tracing::error_span!("consumer", channel.pattern = pattern);
    let driver = ListenDriver { state: state.clone(), pattern: pattern.clone(), sender };
    let subscribing = driver.subscribe().instrument(span.clone());
    let first = match tokio::time::timeout(state.redis.options().operation_timeout, subscribing).await {
        Ok(Some(listening)) => listening,
        Ok(None) => return Err(BrokerError::Closed),
        Err(_) => return Err(BrokerError::Unavailable { reason: state.redis.reason() }),
    };
    let ConsumerTokens { cancel, end, .. } = tokens.clone();
    let running = async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = end.cancelled() => {}
            () = state.redis.closed().cancelled() => {}
            () = driver.run(first) => {}
        }
    };
    tokio::spawn(running.instrument(span.clone()));
    Ok(RedisConsumer::new(pattern, span, deliveries, tokens))
}

struct ListenDriver {
    state: Arc<RedisBrokerState>,
    pattern: String,
    sender: mpsc::Sender<Delivery>,
}

impl ListenDriver {
    /// A connection that has subscribed; `None` once the broker was closed.
    async fn subscribe(&self) -> Option<(PubSubSink, PubSubStream)> {
        let mut backoff = Backoff::new(self.state.redis.options());
        loop {
            // While the connection for commands works, another is likely to be possible.
            self.state.redis.link().await?;
            let error: ConnectionError = match self.state.redis.open_listener().await {
                Ok(mut listener) => match listener.psubscribe(&self.pattern).await {
                    Ok(()) => return Some(listener.split()),
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            tracing::debug!(%error, "cannot listen; retrying");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn run(self, first: (PubSubSink, PubSubStream)) {
        let mut listening = Some(first);
        while let Some((sink, stream)) = listening {
            let error = tokio::select! {
                error = self.forward(stream) => error,
                error = silence(sink, answer_timeout(self.state.redis.options())) => error,
            };
            tracing::debug!(%error, "listener lost its connection; listening again");
            listening = self.subscribe().await;
        }
    }

    async fn forward(&self, mut stream: PubSubStream) -> ConnectionError {
        let mut generation = self.state.redis.present().map_or(0, |link| link.generation);
        while let Some(message) = stream.next().await {
            generation = self.state.redis.present().map_or(generation, |link| link.generation);
            match Envelope::decode(message.get_payload_bytes(), &Limits::default()) {
                Ok(Envelope { message, exchange, routing_key, .. }) => {
                    let delivery = Delivery::new(message, exchange, routing_key, false, generation, None);
                    if self.sender.try_send(delivery).is_err() {
                        tracing::debug!("broadcast dropped: too many are waiting");
                    }
                }
                Err(error) => tracing::warn!(%error, "broadcast dropped: unreadable"),
            }
        }
        ConnectionError::Ended
    }
}
