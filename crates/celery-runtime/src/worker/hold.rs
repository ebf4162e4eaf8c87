//! Holding a task that may not start yet: until its `eta`, or until its rate limit allows it.
//!
//! A task is never held for long: RabbitMQ closes the channel of a consumer that does not acknowledge for half an hour, and
//! on Redis another worker takes the task after an hour.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{registry::TokenBucket, requeue::requeue, settlement::Settlement, task_in_hand::TaskInHand};
use crate::{
    broker::{Guarantee, Publish, PublishError},
    clock,
};

/// How often a waiting task checks whether its delivery is stale.
pub(super) const STALE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest hold of a task that cannot be published again, and goes back to its queue instead: well below half an hour.
const MAX_UNPUBLISHED_HOLD: Duration = Duration::from_secs(20 * 60);

/// Why a task is held.
#[derive(Clone, Copy)]
pub(super) enum HoldReason<'a> {
    /// Its `eta` has not come.
    Eta(Timestamp),
    /// Its rate limit has no token for it.
    RateLimit(&'a TokenBucket),
}

impl HoldReason<'_> {
    /// The time until its `eta`. A rate limit ends with a token, so there it is the longest there is.
    fn time_left(self) -> Duration {
        match self {
            Self::Eta(eta) => Duration::try_from(eta.duration_since(clock::now())).unwrap_or_default(),
            Self::RateLimit(_) => Duration::MAX,
        }
    }

    /// Takes a token of the rate limit. Never returns for an `eta`. Safe to drop.
    async fn token(self) {
        match self {
            Self::Eta(_) => std::future::pending().await,
            Self::RateLimit(bucket) => bucket.token().await,
        }
    }
}

impl TaskInHand<'_> {
    /// Holds the task until it may start; an error says how to settle a task that does not start here.
    pub async fn hold(&self, reason: HoldReason<'_>) -> Result<(), Settlement> {
        let mut limit = HoldLimit::new(self.core.max_hold);
        loop {
            // A newer delivery is held, or was published again: this one must not be published beside it.
            if self.delivery.is_stale() {
                return Err(Settlement::Leave);
            }
            let left = reason.time_left();
            // An expired or revoked task need not wait: it will not run, and takes no token from others.
            if left.is_zero() || self.task.is_expired(clock::now()) || self.core.registry.is_revoked(self.task) {
                return Ok(());
            }
            let Some(wait) = limit.left() else {
                self.postpone(&mut limit).await?;
                continue;
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Err(Settlement::Leave),
                () = reason.token() => return Ok(()),
                // In short steps, so that a task revoked meanwhile does not stay listed as scheduled.
                () = tokio::time::sleep(wait.min(left).min(STALE_CHECK_INTERVAL)) => {}
            }
        }
    }

    /// Postpones a task that was held for the longest time allowed: it is published again as it came, or goes back to its
    /// queue. `Ok` if it may be held a little longer.
    async fn postpone(&self, limit: &mut HoldLimit) -> Result<(), Settlement> {
        if limit.publish_failed {
            // It is delivered again immediately, and the broker's time limit starts from zero.
            requeue(&self.core.counters, self.delivery, &"held for the longest time allowed", self.stopping).await;
            return Err(Settlement::Leave);
        }
        let mut publish = Publish {
            exchange: self.delivery.exchange.clone(),
            routing_key: self.delivery.routing_key.clone(),
            message: self.delivery.message.clone(),
            guarantee: Guarantee::Confirmed { mandatory: true },
        };
        // The broker would count it from now on, which is too long; the `expires` header still holds.
        publish.message.properties.expiration = None;
        match self.core.broker.publish(publish).await {
            Ok(()) => Err(Settlement::AckRepublished),
            // This worker may not publish to that exchange, which stands for the identity of its senders.
            Err(error @ (PublishError::Refused { .. } | PublishError::Unroutable { .. })) => {
                tracing::debug!(%error, "task cannot be published again; holding it");
                limit.publish_failed = true;
                limit.longest = limit.longest.max(MAX_UNPUBLISHED_HOLD);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "cannot publish the held task again");
                requeue(&self.core.counters, self.delivery, &error, self.stopping).await;
                Err(Settlement::Leave)
            }
        }
    }
}

/// How long a task may still be held.
struct HoldLimit {
    since: Instant,
    longest: Duration,
    /// Publishing the task again was tried and is not possible.
    publish_failed: bool,
}

impl HoldLimit {
    fn new(longest: Duration) -> Self {
        Self { since: Instant::now(), longest, publish_failed: false }
    }

    fn left(&self) -> Option<Duration> {
        self.longest.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }
}
