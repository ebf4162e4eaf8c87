//! The unsettled deliveries of one channel, acknowledged several at a time.
//!
//! A frame with `multiple` acknowledges every delivery up to its tag (AMQP 0-9-1, `basic.ack`). So it is sent for the head of
//! the open deliveries only: up to the first that is still being worked on or is being requeued. Done deliveries behind that
//! one wait for one scheduler round, because the head may grow meanwhile, and are then acknowledged one by one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicRejectOptions},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{delivery::Settle, error::AckError},
    sync::lock,
};

/// The unsettled deliveries of one channel.
pub(super) struct ChannelAcks {
    channel: Channel,
    /// The number of the channel among all channels of the broker.
    pub generation: u64,
    /// The channel has ended: the broker delivers open deliveries again.
    ended: CancellationToken,
    deliveries: Mutex<OpenDeliveries>,
    /// An acknowledgement was requested.
    requested: Notify,
}

#[derive(Default)]
struct OpenDeliveries {
    by_tag: BTreeMap<u64, DeliveryStatus>,
    /// The tags whose acknowledgement was requested since the last step, in the order of the requests.
    requested: Vec<u64>,
    /// The tags of the last step that did not belong to the head.
    waiting: Vec<u64>,
    /// The tag delivered last. Tags ascend by one.
    last: u64,
    /// A tag was skipped. No one has worked on that delivery, so `multiple` must never include it.
    tag_skipped: bool,
}

/// The state of an open delivery.
enum DeliveryStatus {
    /// Being worked on, or being requeued.
    InHand,
    /// To be acknowledged; the requester gets the outcome.
    Done(AckReply),
}

/// Hands the outcome of an acknowledgement to its requester.
type AckReply = oneshot::Sender<Result<(), lapin::Error>>;

/// The deliveries to acknowledge now.
#[derive(Default)]
struct AckStep {
    /// The head of the open deliveries, ascending, for one frame.
    head: Vec<(u64, AckReply)>,
    /// Done deliveries behind one that is not, for a frame each.
    single: Vec<(u64, AckReply)>,
}

impl ChannelAcks {
    /// Starts a task that sends acknowledgements until `ended`.
    pub fn start(channel: Channel, generation: u64, ended: CancellationToken) -> Arc<Self> {
        let acks =
            Arc::new(Self { channel, generation, ended, deliveries: Mutex::default(), requested: Notify::new() });
        tokio::spawn({
            let acks = acks.clone();
            async move {
                acks.ended.run_until_cancelled(acks.send_requested()).await;
                // Dropping the replies ends the requesters' waits.
                acks.deliveries().by_tag.clear();
            }
        });
        acks
    }

    /// Registers a delivery and returns the handle that settles it.
    pub fn register(self: &Arc<Self>, tag: u64) -> AmqpSettle {
        self.deliveries().deliver(tag);
        AmqpSettle { acks: self.clone(), tag }
    }

    fn deliveries(&self) -> MutexGuard<'_, OpenDeliveries> {
        lock(&self.deliveries)
    }

    async fn send_requested(&self) {
        loop {
            self.requested.notified().await;
            loop {
                // Tasks that are ready to request do so first, so that the same frame serves them.
                tokio::task::yield_now().await;
                let Some(step) = self.deliveries().step() else { break };
                self.acknowledge(step).await;
            }
        }
    }

    /// Writes the frames in order, so that no tag is acknowledged after a frame that already includes it.
    async fn acknowledge(&self, step: AckStep) {
        if let Some((last, _)) = step.head.last() {
            let options = BasicAckOptions { multiple: step.head.len() > 1 };
            let outcome = self.channel.basic_ack(*last, options).await;
            for (_, reply) in step.head {
                // The requester may have been dropped meanwhile.
                let _ = reply.send(outcome.clone());
            }
        }
        let each = step.single.into_iter().map(async |(tag, reply)| {
            let _ = reply.send(self.channel.basic_ack(tag, BasicAckOptions::default()).await);
        });
        join_all(each).await;
    }
}

impl OpenDeliveries {
    fn deliver(&mut self, tag: u64) {
        self.tag_skipped |= tag != self.last + 1;
        self.last = tag;
        self.by_tag.insert(tag, DeliveryStatus::InHand);
    }

    fn request(&mut self, tag: u64, reply: AckReply) {
        self.by_tag.insert(tag, DeliveryStatus::Done(reply));
        self.requested.push(tag);
    }

    /// Takes the deliveries to acknowledge now; `None` without a request.
    fn step(&mut self) -> Option<AckStep> {
        if self.requested.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let mut step = AckStep::default();
        while !self.tag_skipped
            && let Some((tag, status)) = self.by_tag.pop_first()
        {
            match status {
                DeliveryStatus::Done(reply) => step.head.push((tag, reply)),
                DeliveryStatus::InHand => {
                    self.by_tag.insert(tag, status);
                    break;
                }
            }
        }
        for tag in self.waiting.drain(..) {
            if let Some(DeliveryStatus::Done(reply)) = self.by_tag.remove(&tag) {
                step.single.push((tag, reply));
            }
        }
        std::mem::swap(&mut self.requested, &mut self.waiting);
        Some(step)
    }
}

/// Settles one delivery on the channel it came over.
pub(super) struct AmqpSettle {
    acks: Arc<ChannelAcks>,
    tag: u64,
}

impl AmqpSettle {
    fn stale(&self) -> AckError {
        AckError::Stale { generation: self.acks.generation }
    }

    fn outcome(&self, outcome: Result<(), lapin::Error>) -> Result<(), AckError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(_) if self.is_stale() => Err(self.stale()),
            Err(error) => Err(AckError::Unavailable { reason: error.to_string() }),
        }
    }
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(&self) -> Result<(), AckError> {
        let (reply, outcome) = oneshot::channel();
        {
            let mut deliveries = self.acks.deliveries();
            // Checked under the lock, because a request after the end would never be answered.
            if self.is_stale() {
                return Err(self.stale());
            }
            deliveries.request(self.tag, reply);
        }
        self.acks.requested.notify_one();
        match outcome.await {
            Ok(outcome) => self.outcome(outcome),
            Err(_) => Err(self.stale()),
        }
    }

    async fn reject(&self, requeue: bool) -> Result<(), AckError> {
        if self.is_stale() {
            return Err(self.stale());
        }
        let rejected = self.acks.channel.basic_reject(self.tag, BasicRejectOptions { requeue });
        // A request that is under way when the connection breaks could wait for ever: lapin does not answer all of them.
        let Some(outcome) = self.acks.ended.run_until_cancelled(rejected).await else {
            return Err(self.stale());
        };
        if outcome.is_ok() {
            // Not before the reject is written: a `multiple` for later tags would acknowledge it.
            self.acks.deliveries().by_tag.remove(&self.tag);
        }
        self.outcome(outcome)
    }

    fn is_stale(&self) -> bool {
        self.acks.ended.is_cancelled() || !self.acks.channel.status().connected()
    }
}

impl fmt::Debug for ChannelAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelAcks").field("generation", &self.generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tags: impl IntoIterator<Item = u64>) -> OpenDeliveries {
        let mut deliveries = OpenDeliveries::default();
        tags.into_iter().for_each(|tag| deliveries.deliver(tag));
        deliveries
    }

    fn request(deliveries: &mut OpenDeliveries, tags: impl IntoIterator<Item = u64>) {
        tags.into_iter().for_each(|tag| deliveries.request(tag, oneshot::channel().0));
    }

    /// Head and others of the next step.
    fn step(deliveries: &mut OpenDeliveries) -> Option<(Vec<u64>, Vec<u64>)> {
        let tags = |of: Vec<(u64, AckReply)>| of.into_iter().map(|(tag, _)| tag).collect();
        deliveries.step().map(|step| (tags(step.head), tags(step.single)))
    }

    #[test]
    fn the_head_goes_in_one_step_in_any_order_of_requests() {
        let mut deliveries = delivered(1..=5);
        request(&mut deliveries, [3, 1, 4, 2]);
        assert_eq!(step(&mut deliveries), Some((vec![1, 2, 3, 4], vec![])));
        assert!(deliveries.by_tag.contains_key(&5));
    }

    #[test]
    fn a_done_delivery_behind_an_open_one_waits_one_step_and_goes_alone() {
        let mut deliveries = delivered(1..=4);
        request(&mut deliveries, [1, 3, 4]);
        assert_eq!(step(&mut deliveries), Some((vec![1], vec![])));
        assert_eq!(step(&mut deliveries), Some((vec![], vec![3, 4])));
        assert_eq!(step(&mut deliveries), None);
        request(&mut deliveries, [2]);
        assert_eq!(step(&mut deliveries), Some((vec![2], vec![])));
        assert!(deliveries.by_tag.is_empty());
    }

    #[test]
    fn a_waiting_delivery_goes_with_the_head_once_it_belongs_to_it() {
        let mut deliveries = delivered(1..=3);
        request(&mut deliveries, [2, 3]);
        assert_eq!(step(&mut deliveries), Some((vec![], vec![])));
        request(&mut deliveries, [1]);
        assert_eq!(step(&mut deliveries), Some((vec![1, 2, 3], vec![])));
        assert_eq!(step(&mut deliveries), Some((vec![], vec![])));
        assert_eq!(step(&mut deliveries), None);
    }

    #[test]
    fn after_a_skipped_tag_every_delivery_goes_alone() {
        let mut deliveries = delivered([1, 2, 4]);
        request(&mut deliveries, [1, 2, 4]);
        assert_eq!(step(&mut deliveries), Some((vec![], vec![])));
        assert_eq!(step(&mut deliveries), Some((vec![], vec![1, 2, 4])));
    }
}
