//! Puts messages back into their queues.

use std::{sync::LazyLock, time::Duration};

use celery_protocol::{
    Limits,
    redis::{
        envelope::{Restored, restored},
        scripts,
    },
};
use redis::Script;

use super::{broker_state::RedisBrokerState, publisher::bound_queues};
use crate::{broker::error::PublishError, redis::RequestError};

static RESTORE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::RESTORE));

/// How many messages one step puts back, with their bodies.
const MAX_MESSAGES_PER_REQUEUE: usize = 64;

/// The end of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueEnd {
    /// Taken next.
    Next,
    /// Taken after all waiting messages.
    Last,
}

/// Requeues the messages under these tags, which are in the order they were taken. With [`QueueEnd::Next`] they are taken in that
/// order again. A missing message was settled, or requeued by another worker. Returns how many were requeued.
pub(super) async fn requeue(state: &RedisBrokerState, tags: Vec<String>, end: QueueEnd) -> Result<usize, RequestError> {
    let mut count = 0;
    let chunks: Vec<_> = tags.chunks(MAX_MESSAGES_PER_REQUEUE).collect();
    // The last to be pushed is taken first.
    let ordered: Vec<_> = if end == QueueEnd::Next { chunks.into_iter().rev().collect() } else { chunks };
    for chunk in ordered {
        let mut read = redis::cmd("HMGET");
        read.arg(state.keys.unacked()).arg(chunk);
        let read = &read;
        let values: Vec<Option<Vec<u8>>> = state
            .redis
            .request_even_closing(|mut connection| async move { read.query_async(&mut connection).await })
            .await?;
        let mut found: Vec<(String, Vec<u8>)> =
            chunk.iter().cloned().zip(values).filter_map(|(tag, value)| Some((tag, value?))).collect();
        if end == QueueEnd::Next {
            found.reverse();
        }
        count += requeue_found(state, found, Duration::ZERO, end).await?;
    }
    Ok(count)
}

/// Requeues these tags with their messages, each if it still exists and was not renewed for `age`. A message that cannot be
/// requeued stays in `unacked` and does not hold up the others.
pub(super) async fn requeue_found(
    state: &RedisBrokerState,
    found: Vec<(String, Vec<u8>)>,
    age: Duration,
    end: QueueEnd,
) -> Result<usize, RequestError> {
    let mut script = RESTORE.key(state.keys.unacked_index());
    script.key(state.keys.unacked()).arg(age.as_secs_f64()).arg(if end == QueueEnd::Next { "RPUSH" } else { "LPUSH" });
    let mut any = false;
    for (tag, value) in found {
        let Some(message) = restored(&value, &Limits::default()) else {
            tracing::error!(tag, "entry of unacked is not a message; left there");
            continue;
        };
        let queue = match queue_of(state, &message).await {
            Ok(Some(queue)) => queue,
            Ok(None) => {
                tracing::error!(
                    tag,
                    exchange = message.exchange,
                    routing_key = message.routing_key,
                    "no queue to requeue a message into; left in unacked"
                );
                continue;
            }
            Err(error) if error == RequestError::Closed || state.redis.present().is_none() => return Err(error),
            Err(error) => {
                tracing::error!(
                    tag,
                    exchange = message.exchange,
                    %error,
                    "cannot look up the queue of a message; left in unacked"
                );
                continue;
            }
        };
        script.key(state.keys.queue(&queue, message.priority)).arg(tag).arg(message.payload);
        any = true;
    }
    if !any {
        return Ok(0);
    }
    let script = &script;
    state
        .redis
        .request_even_closing(|mut connection| async move { script.invoke_async::<usize>(&mut connection).await })
        .await
}

async fn queue_of(state: &RedisBrokerState, message: &Restored) -> Result<Option<String>, RequestError> {
    if message.exchange.is_empty() {
        return Ok(Some(message.routing_key.clone()));
    }
    match bound_queues(state, &message.exchange, &message.routing_key).await {
        // One copy was taken, so one is requeued; kombu would copy it to every queue.
        Ok(queues) => Ok(queues.into_iter().next()),
        Err(PublishError::Closed) => Err(RequestError::Closed),
        Err(error) => Err(RequestError::Unavailable { reason: error.to_string(), sent: false }),
    }
}
