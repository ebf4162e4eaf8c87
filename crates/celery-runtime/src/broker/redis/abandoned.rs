//! Requeues messages of dead workers, whose lease has run out, and messages that orphaned requests have taken.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use celery_protocol::redis::{
    keys::{LEASED_TAG, MUTEX_MILLISECONDS},
    scripts,
};
use redis::Script;

use super::{
    broker_state::RedisBrokerState,
    lease::{lease, renew_tags},
    restore::{QueueEnd, requeue, requeue_found},
    unsettled::UnsettledDeliveries,
};
use crate::redis::RequestError;

static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::DUE));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::RELEASE));

/// How often to look for messages of dead workers, at most. As Celery does.
const ABANDONED_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How often to look for messages that orphaned requests have taken.
const ORPHANED_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How many abandoned messages one step requeues.
const MAX_ABANDONED_PER_STEP: usize = 16;

/// Requeues the messages that orphaned requests have taken, until the consumer has ended (its future is dropped).
pub(super) async fn requeue_orphaned(state: &RedisBrokerState, unsettled: &UnsettledDeliveries) {
    loop {
        tokio::time::sleep(ORPHANED_CHECK_INTERVAL).await;
        // Messages taken even later return when their lease ends.
        let orphaned = unsettled.orphaned_tags(lease(state));
        if orphaned.is_empty() {
            continue;
        }
        match requeue(state, orphaned, QueueEnd::Next).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "requeued messages that a late request had taken"),
            Err(error) => tracing::debug!(%error, "cannot look for messages of late requests"),
        }
    }
}

/// Requeues messages that were not acknowledged in time, until the broker is closed.
pub(super) async fn requeue_abandoned(state: Arc<RedisBrokerState>) {
    let every = ABANDONED_CHECK_INTERVAL.min(state.redis.url.visibility_timeout / 4);
    loop {
        loop {
            match requeue_some_abandoned(&state).await {
                Ok(None) => break,
                // Others may be due behind those that cannot be requeued.
                Ok(Some(0)) => {}
                Ok(Some(count)) => {
                    tracing::warn!(count, "requeued messages that their worker did not acknowledge in time");
                }
                Err(RequestError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "cannot look for messages of dead workers");
                    break;
                }
            }
        }
        tokio::select! {
            () = state.redis.closed().cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// One step. Returns how many messages were requeued, or `None` when no more are due. The step renews
/// the lease of a due message that it did not requeue, so that the next step sees others.
async fn requeue_some_abandoned(state: &RedisBrokerState) -> Result<Option<usize>, RequestError> {
    let token = uuid::Uuid::new_v4().to_string();
    let (visibility, lease) = (state.redis.url.visibility_timeout, lease(state));
    let mut due = DUE.key(state.keys.unacked_index());
    due.key(state.keys.unacked()).key(state.keys.unacked_mutex());
    due.arg(&token).arg(MUTEX_MILLISECONDS).arg(visibility.as_secs_f64()).arg(lease.as_secs_f64());
    due.arg(LEASED_TAG).arg(MAX_ABANDONED_PER_STEP);
    let due = &due;
    let found: Vec<Vec<u8>> =
        state.redis.request(|mut connection, _| async move { due.invoke_async(&mut connection).await }).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let (mut tags, mut pairs) = (Vec::new(), Vec::new());
    let mut parts = found.into_iter();
    while let (Some(tag), Some(value)) = (parts.next(), parts.next()) {
        let text = String::from_utf8_lossy(&tag).into_owned();
        tags.push(tag);
        // Tags of this process are worked on, even if they could not be renewed for a while.
        if !state.holds(&text) {
            pairs.push((text, value));
        }
    }
    // The oldest is pushed last, so it is taken first.
    pairs.reverse();
    // A tag of ours that was renewed meanwhile is younger than its lease again. A tag of Python's is checked against the same
    // age, which its own score has passed.
    let restored = requeue_found(state, pairs, lease, QueueEnd::Next).await;
    let left = match &restored {
        Ok(count) if *count < tags.len() => renew_tags(state, &tags).await,
        // It would be refused again the next time, and the messages behind it would never be checked.
        Err(RequestError::Refused { .. }) => renew_tags(state, &tags).await,
        _ => Ok(0),
    };
    let mut release = RELEASE.key(state.keys.unacked_mutex());
    release.arg(&token);
    let release = &release;
    state.redis.request(|mut connection, _| async move { release.invoke_async::<()>(&mut connection).await }).await?;
    let (left, restored) = (left?, restored?);
    // If nothing changed, another look now would find the same.
    Ok(if restored == 0 && left == 0 { None } else { Some(restored) })
}
