//! Putting messages back into their queues.

use std::{sync::LazyLock, time::Duration};

use celery_protocol::{
    Limits,
    redis::{
        envelope::{Restored, restored},
        scripts,
    },
};
use redis::Script;

use super::{Shared, publisher::bound};
use crate::{broker::PublishError, redis::RequestError};

static RESTORE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::RESTORE));

/// How many are put back in one step, with their bodies.
const AT_ONCE: usize = 64;

/// Where in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Taken next.
    Next,
    /// Taken after everything that waits.
    Last,
}

/// Puts back what lies under these tags, given in the order they were taken. With [`End::Next`] they are taken in that order
/// again. What is not there any more was settled, or put back by somebody else. Returns how many went back.
pub(super) async fn put_back(shared: &Shared, tags: Vec<String>, end: End) -> Result<usize, RequestError> {
    let mut count = 0;
    let chunks: Vec<_> = tags.chunks(AT_ONCE).collect();
    // The last to be pushed is taken first.
    let ordered: Vec<_> = if end == End::Next { chunks.into_iter().rev().collect() } else { chunks };
    for chunk in ordered {
        let mut read = redis::cmd("HMGET");
        read.arg(shared.keys.unacked()).arg(chunk);
        let read = &read;
        let values: Vec<Option<Vec<u8>>> = shared
            .redis
            .request_even_closing(|mut connection| async move { read.query_async(&mut connection).await })
            .await?;
        let mut found: Vec<(String, Vec<u8>)> =
            chunk.iter().cloned().zip(values).filter_map(|(tag, value)| Some((tag, value?))).collect();
        if end == End::Next {
            found.reverse();
        }
        count += push_back(shared, found, Duration::ZERO, end).await?;
    }
    Ok(count)
}

/// Puts back these tags with what lies under them, each if it is still there and untouched for `age`. One that cannot
/// go back stays where it is, and keeps none of the others there.
pub(super) async fn push_back(
    shared: &Shared,
    found: Vec<(String, Vec<u8>)>,
    age: Duration,
    end: End,
) -> Result<usize, RequestError> {
    let mut script = RESTORE.key(shared.keys.unacked_index());
    script.key(shared.keys.unacked()).arg(age.as_secs_f64()).arg(if end == End::Next { "RPUSH" } else { "LPUSH" });
    let mut any = false;
    for (tag, value) in found {
        let Some(message) = restored(&value, &Limits::default()) else {
            tracing::error!(tag, "what lies in unacked is not a message, it is left there");
            continue;
        };
        let queue = match queue(shared, &message).await {
            Ok(Some(queue)) => queue,
            Ok(None) => {
                tracing::error!(
                    tag,
                    exchange = message.exchange,
                    routing_key = message.routing_key,
                    "no queue to put a message back into, it is left in unacked"
                );
                continue;
            }
            Err(error) if error == RequestError::Closed || shared.redis.present().is_none() => return Err(error),
            Err(error) => {
                tracing::error!(
                    tag,
                    exchange = message.exchange,
                    %error,
                    "cannot tell which queue a message goes back into, it is left in unacked"
                );
                continue;
            }
        };
        script.key(shared.keys.queue(&queue, message.priority)).arg(tag).arg(message.payload);
        any = true;
    }
    if !any {
        return Ok(0);
    }
    let script = &script;
    shared
        .redis
        .request_even_closing(|mut connection| async move { script.invoke_async::<usize>(&mut connection).await })
        .await
}

async fn queue(shared: &Shared, message: &Restored) -> Result<Option<String>, RequestError> {
    if message.exchange.is_empty() {
        return Ok(Some(message.routing_key.clone()));
    }
    match bound(shared, &message.exchange, &message.routing_key).await {
        // One copy was taken, so one goes back; kombu would copy it to every queue.
        Ok(queues) => Ok(queues.into_iter().next()),
        Err(PublishError::Closed) => Err(RequestError::Closed),
        Err(error) => Err(RequestError::Unavailable { reason: error.to_string(), sent: false }),
    }
}
