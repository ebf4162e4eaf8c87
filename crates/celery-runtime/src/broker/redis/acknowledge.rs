//! Sends the acknowledgements of a consumer to Redis, many in one step.

use std::{sync::LazyLock, time::Duration};

use celery_protocol::redis::scripts;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{Script, ScriptInvocation};

use super::{
    broker_state::RedisBrokerState,
    unsettled::{AckRequest, TagStatus, UnsettledDeliveries},
};
use crate::redis::RequestError;

static ACK: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::ACK));

/// How many tags one step acknowledges at most.
const MAX_TAGS_PER_ACK: usize = 1000;
/// How many steps may be under way at a time.
const MAX_ACK_STEPS: usize = 4;
/// How many tags make a step worthwhile beside another.
const MIN_TAGS_BESIDE_OTHER_STEP: usize = 32;
/// How long a consumer that ends retries its pending acknowledgements.
const LAST_ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Acknowledges requested tags until the consumer has ended (its future is dropped).
///
/// Requests that arrive while a step is under way go with the next, so that many acknowledgements cost little more than one.
/// With enough tags the next step does not wait for an answer.
pub(super) async fn send_requested_acks(state: &RedisBrokerState, unsettled: &UnsettledDeliveries) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = unsettled.ack_requested.notified() => {}
            Some(()) = under_way.next() => {}
        }
        while under_way.len() < MAX_ACK_STEPS {
            let least = if under_way.is_empty() { 1 } else { MIN_TAGS_BESIDE_OTHER_STEP };
            let requests = unsettled.take_ack_requests(least, MAX_TAGS_PER_ACK);
            if requests.is_empty() {
                break;
            }
            under_way.push(acknowledge_and_reply(state, unsettled, requests));
        }
    }
}

/// Removes the deliveries as well, because the requester may have been dropped meanwhile.
async fn acknowledge_and_reply(state: &RedisBrokerState, unsettled: &UnsettledDeliveries, requests: Vec<AckRequest>) {
    let mut tags = Vec::with_capacity(requests.len());
    let mut replies = Vec::with_capacity(requests.len());
    for AckRequest { number, tag, reply } in requests {
        tags.push(tag);
        replies.push((number, reply));
    }
    let outcome = acknowledge(state, &tags).await;
    for (at, (number, reply)) in replies.into_iter().enumerate() {
        let status = outcome.as_ref().map(|missing| match missing.contains(&(at + 1)) {
            true => TagStatus::Missing,
            false => TagStatus::Acknowledged,
        });
        match status {
            Ok(_) => unsettled.remove(number),
            Err(_) => unsettled.ack_pending(number),
        }
        let _ = reply.send(status.map_err(Clone::clone));
    }
}

/// Returns the places, counted from 1, of tags that were no longer ours. After a lost answer a tag may be missing because it was
/// acknowledged, so no place is returned then.
async fn acknowledge(state: &RedisBrokerState, tags: &[String]) -> Result<Vec<usize>, RequestError> {
    let script = &ack_script(state, tags);
    let mut repeated = false;
    let missing = state
        .redis
        .request(|mut connection, again| {
            repeated |= again;
            async move { script.invoke_async::<Vec<usize>>(&mut connection).await }
        })
        .await?;
    Ok(if repeated { Vec::new() } else { missing })
}

/// Retries the acknowledgements that failed. Returns whether none is pending any more.
///
/// The tags stay noted until Redis answers, because this future may be dropped.
pub(super) async fn retry_pending_acks(state: &RedisBrokerState, unsettled: &UnsettledDeliveries) -> bool {
    let pending = unsettled.ack_pending_tags();
    for tags in pending.chunks(MAX_TAGS_PER_ACK) {
        if let Err(error) = acknowledge(state, tags).await {
            tracing::debug!(%error, tags = pending.len(), "acknowledgements still pending");
            return false;
        }
        unsettled.ack_retried(tags);
    }
    true
}

/// Retries pending acknowledgements once more when a consumer ends, also while closing.
pub(super) async fn last_pending_acks(state: &RedisBrokerState, pending: Vec<String>) {
    let acknowledging = async {
        for tags in pending.chunks(MAX_TAGS_PER_ACK) {
            let script = &ack_script(state, tags);
            state
                .redis
                .request_even_closing(|mut connection| async move {
                    script.invoke_async::<Vec<usize>>(&mut connection).await
                })
                .await?;
        }
        Ok::<(), RequestError>(())
    };
    let reason = match tokio::time::timeout(LAST_ACK_TIMEOUT, acknowledging).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(
        tags = pending.len(),
        error = reason,
        "failed to acknowledge finished messages; they will be redelivered"
    );
}

fn ack_script(state: &RedisBrokerState, tags: &[String]) -> ScriptInvocation<'static> {
    let mut script = ACK.key(state.keys.unacked_index());
    script.key(state.keys.unacked());
    for tag in tags {
        script.arg(tag);
    }
    script
}
