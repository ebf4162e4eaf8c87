//! The leases of taken messages: how long they last, and their renewal while a consumer holds them.

use std::{sync::LazyLock, time::Duration};

use celery_protocol::redis::{keys::LEASE_SECONDS, scripts};
use redis::{Script, ToRedisArgs};

use super::{acknowledge::retry_pending_acks, broker_state::RedisBrokerState, unsettled::UnsettledDeliveries};
use crate::redis::RequestError;

static REFRESH: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::REFRESH));

/// The longest time between two renewals.
const RENEW_INTERVAL: Duration = Duration::from_secs(60);
/// The wait after a failed renewal, which is short because other workers may soon requeue these messages.
const RENEW_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How many tags one command renews.
const MAX_TAGS_PER_RENEWAL: usize = 1000;

/// How long a message is leased when it is taken or renewed.
pub(super) fn lease(state: &RedisBrokerState) -> Duration {
    Duration::from_secs(LEASE_SECONDS).min(state.redis.url.visibility_timeout)
}

/// Renews the tags of a consumer until it has ended (its future is dropped).
pub(super) async fn renew(state: &RedisBrokerState, unsettled: &UnsettledDeliveries) {
    let every = RENEW_INTERVAL.min(state.redis.url.visibility_timeout / 4).min(lease(state) / 4);
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        let acknowledged = retry_pending_acks(state, unsettled).await;
        let renewed = renew_now(state, unsettled).await;
        if let Err(error) = &renewed {
            tracing::debug!(%error, "deliveries not renewed");
        }
        wait = if acknowledged && renewed.is_ok() { every } else { every.min(RENEW_RETRY_INTERVAL) };
    }
}

/// Renews the tags of a consumer once.
pub(super) async fn renew_now(state: &RedisBrokerState, unsettled: &UnsettledDeliveries) -> Result<(), RequestError> {
    for tags in unsettled.to_renew().chunks(MAX_TAGS_PER_RENEWAL) {
        let kept = renew_tags(state, tags).await?;
        if kept < tags.len() {
            tracing::warn!(
                lost = tags.len() - kept,
                "another worker requeued messages that this worker still processes"
            );
        }
    }
    Ok(())
}

/// Renews the lease of these tags. Returns how many still exist.
pub(super) async fn renew_tags<T: ToRedisArgs + Sync>(
    state: &RedisBrokerState,
    tags: &[T],
) -> Result<usize, RequestError> {
    let mut script = REFRESH.key(state.keys.unacked_index());
    for tag in tags {
        script.arg(tag);
    }
    let script = &script;
    state.redis.request(|mut connection, _| async move { script.invoke_async::<usize>(&mut connection).await }).await
}
