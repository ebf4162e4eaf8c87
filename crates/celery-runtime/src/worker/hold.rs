//! Waiting with a task in hand: for its time, for its turn. Never for long, because RabbitMQ takes the channel of a consumer
//! that does not acknowledge for half an hour, and Redis gives the task to another after one (`reference §5`).

use std::{pin::Pin, task::Poll, time::Duration};

use celery_protocol::TaskRequest;
use jiff::Timestamp;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit},
    time::Instant,
};

use super::{Shared, execute::One, registry::Bucket, settle::give_back};
use crate::{
    broker::{Guarantee, Publish, PublishError},
    clock,
};

/// How often what waits looks whether its delivery is still its own.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The longest a task is held that cannot be published as it came, and goes back to its queue instead: well below half an hour.
const HOLD_UNPUBLISHED: Duration = Duration::from_secs(20 * 60);

pub(super) type Lane = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// How holding ended.
pub(super) enum Held {
    Due,
    /// The worker has to end.
    Stopped,
    /// It was published again, and is to be acknowledged.
    Later,
    /// It was given back, or is to be left.
    Left,
}

/// A place in the lane of the task, taken now though granted later.
pub(super) async fn in_line(shared: &Shared, task: &TaskRequest) -> Option<Lane> {
    let lane = shared.tasks.get(task.name())?.lane.clone()?;
    let mut place: Lane = Box::pin(lane.acquire_owned());
    match futures_util::poll!(&mut place) {
        Poll::Ready(permit) => Some(Box::pin(std::future::ready(permit))),
        Poll::Pending => Some(place),
    }
}

impl One<'_> {
    /// Waits for its turn in the lane; `None` when the worker has to end, or another delivery has taken the place of this one.
    pub(super) async fn turn(&self, mut lane: Lane) -> Option<Result<OwnedSemaphorePermit, AcquireError>> {
        while !self.delivery.is_stale() {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                permit = &mut lane => return Some(permit),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        None
    }

    /// Holds the task until its time.
    pub(super) async fn until_due(&self, eta: Timestamp) -> Held {
        self.tracked.waits_until(eta);
        let mut patience = Patience::new(self.shared.hold);
        loop {
            // It was delivered again, and that copy is held or was put off: this one must not be published beside it.
            if self.delivery.is_stale() {
                return Held::Left;
            }
            let left = Duration::try_from(eta.duration_since(clock::now())).unwrap_or_default();
            // What has expired or was revoked need not wait for its time.
            if left.is_zero() || self.task.is_expired(clock::now()) || self.shared.registry.is_revoked(self.task) {
                return Held::Due;
            }
            let Some(wait) = patience.left() else {
                match self.put_off(&mut patience).await {
                    Some(held) => return held,
                    None => continue,
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return Held::Stopped,
                // Not for long at a time, so that a revoked task does not lie here as if it were to run.
                () = tokio::time::sleep(wait.min(left).min(LOOK)) => {}
            }
        }
    }

    /// Holds the task until its rate limit lets it start.
    pub(super) async fn until_rate_allows(&self, bucket: &Bucket) -> Held {
        let mut patience = Patience::new(self.shared.hold);
        loop {
            if self.delivery.is_stale() {
                return Held::Left;
            }
            // What will not run needs no token, and others wait for one.
            if self.task.is_expired(clock::now()) || self.shared.registry.is_revoked(self.task) {
                return Held::Due;
            }
            let Some(wait) = patience.left() else {
                match self.put_off(&mut patience).await {
                    Some(held) => return held,
                    None => continue,
                }
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Held::Stopped,
                () = bucket.token() => return Held::Due,
                () = tokio::time::sleep(wait.min(LOOK)) => {}
            }
        }
    }

    /// Puts a task off that has been held long enough: published again as it came, or back to its queue. `None` if it may be
    /// held a little longer.
    async fn put_off(&self, patience: &mut Patience) -> Option<Held> {
        if patience.published {
            // Its turn in the queue comes again at once, and the broker's patience begins anew.
            give_back(self.shared, self.delivery, &"it was held for long", self.stopping).await;
            return Some(Held::Left);
        }
        let publish = Publish {
            exchange: self.delivery.exchange.clone(),
            routing_key: self.delivery.routing_key.clone(),
            message: self.delivery.message.clone(),
            guarantee: Guarantee::Confirmed { mandatory: true },
        };
        let mut publish = publish;
        // Counted from now, it would be too long; the header says when it is too late for it.
        publish.message.properties.expiration = None;
        match self.shared.broker.publish(publish).await {
            Ok(()) => Some(Held::Later),
            // Not ours to publish to: an exchange only others may write to says who sent it.
            Err(error @ (PublishError::Refused { .. } | PublishError::Unroutable { .. })) => {
                tracing::debug!(task.id = self.task.id(), %error, "a task for later stays here");
                patience.published = true;
                patience.most = patience.most.max(HOLD_UNPUBLISHED);
                None
            }
            Err(error) => {
                tracing::warn!(worker = self.shared.name, task.id = self.task.id(), %error, "a task for later could not be published again");
                give_back(self.shared, self.delivery, &error, self.stopping).await;
                Some(Held::Left)
            }
        }
    }
}

/// How long a task may still be held.
struct Patience {
    since: Instant,
    most: Duration,
    /// Publishing it again was tried, and is not possible.
    published: bool,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { since: Instant::now(), most, published: false }
    }

    fn left(&self) -> Option<Duration> {
        self.most.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }
}
