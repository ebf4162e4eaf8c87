//! What one channel has delivered and is not settled: acknowledged several at a time.
//!
//! A frame with `multiple` acknowledges everything up to its tag, so it is sent for the head of what is open and no
//! further: up to the first delivery that is still being worked on or is on its way back. What is done behind that one
//! waits until whatever is ready to run has run, and is then acknowledged by itself. (AMQP 0-9-1, `basic.ack`.)

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicRejectOptions},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::broker::{AckError, Settle};

/// The open deliveries of one channel.
pub(super) struct Acks {
    channel: Channel,
    /// The channel's place among all of the broker.
    pub generation: u64,
    /// The channel has ended: the broker delivers again what is open.
    ended: CancellationToken,
    inner: Mutex<Inner>,
    asked: Notify,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<u64, Open>,
    /// Tags to be acknowledged since the last step, in the order they were asked for.
    asked: Vec<u64>,
    /// Those of the last step that were not of the head.
    waited: Vec<u64>,
    /// The tag delivered last. They ascend by one.
    last: u64,
    /// A tag was left out. Whatever it was, nobody has done it, so that `multiple` may comprise it no more.
    unseen: bool,
}

enum Open {
    /// Being worked on, or on its way back.
    Kept,
    /// To be acknowledged; who asked hears what came of it.
    Done(Told),
}

type Told = oneshot::Sender<Result<(), lapin::Error>>;

/// What is to be acknowledged now.
#[derive(Default)]
struct Step {
    /// The head of what is open, ascending: one frame does.
    head: Vec<(u64, Told)>,
    /// What is done behind something that is not.
    alone: Vec<(u64, Told)>,
}

impl Acks {
    /// Acknowledges from a task of its own until `ended`.
    pub fn start(channel: Channel, generation: u64, ended: CancellationToken) -> Arc<Self> {
        let acks = Arc::new(Self { channel, generation, ended, inner: Mutex::default(), asked: Notify::new() });
        tokio::spawn({
            let acks = acks.clone();
            async move {
                // Who still waits then learns it by the end of what they wait for.
                acks.ended.run_until_cancelled(acks.acknowledge_what_is_asked()).await;
                acks.lock().open.clear();
            }
        });
        acks
    }

    /// Notes a delivery; what is returned settles it.
    pub fn open(self: &Arc<Self>, tag: u64) -> AmqpSettle {
        self.lock().deliver(tag);
        AmqpSettle { acks: self.clone(), tag }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one infallible operation, so a panic leaves nothing half-done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn acknowledge_what_is_asked(&self) {
        loop {
            self.asked.notified().await;
            loop {
                // Whoever is ready to ask does so first, and goes with the same frame.
                tokio::task::yield_now().await;
                let Some(step) = self.lock().step() else { break };
                self.acknowledge(step).await;
            }
        }
    }

    /// Frames are written in the order they are asked for, so that no tag is named after one that comprises it.
    async fn acknowledge(&self, step: Step) {
        if let Some((last, _)) = step.head.last() {
            let options = BasicAckOptions { multiple: step.head.len() > 1 };
            let outcome = self.channel.basic_ack(*last, options).await;
            for (_, told) in step.head {
                // Who asked may have been dropped meanwhile.
                let _ = told.send(outcome.clone());
            }
        }
        let each = step.alone.into_iter().map(async |(tag, told)| {
            let _ = told.send(self.channel.basic_ack(tag, BasicAckOptions::default()).await);
        });
        join_all(each).await;
    }
}

impl Inner {
    fn deliver(&mut self, tag: u64) {
        self.unseen |= tag != self.last + 1;
        self.last = tag;
        self.open.insert(tag, Open::Kept);
    }

    fn ask(&mut self, tag: u64, told: Told) {
        self.open.insert(tag, Open::Done(told));
        self.asked.push(tag);
    }

    /// Takes what is to be acknowledged now; `None` when nothing is asked for.
    fn step(&mut self) -> Option<Step> {
        if self.asked.is_empty() && self.waited.is_empty() {
            return None;
        }
        let mut step = Step::default();
        while !self.unseen
            && let Some((tag, open)) = self.open.pop_first()
        {
            match open {
                Open::Done(told) => step.head.push((tag, told)),
                Open::Kept => {
                    self.open.insert(tag, open);
                    break;
                }
            }
        }
        for tag in self.waited.drain(..) {
            if let Some(Open::Done(told)) = self.open.remove(&tag) {
                step.alone.push((tag, told));
            }
        }
        std::mem::swap(&mut self.asked, &mut self.waited);
        Some(step)
    }
}

/// Settles one delivery of the channel it came by.
pub(super) struct AmqpSettle {
    acks: Arc<Acks>,
    tag: u64,
}

impl AmqpSettle {
    fn stale(&self) -> AckError {
        AckError::Stale { generation: self.acks.generation }
    }

    fn told(&self, outcome: Result<(), lapin::Error>) -> Result<(), AckError> {
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
        let (told, outcome) = oneshot::channel();
        {
            let mut inner = self.acks.lock();
            // Looked at under the lock, because what is asked for after the end would never be answered.
            if self.is_stale() {
                return Err(self.stale());
            }
            inner.ask(self.tag, told);
        }
        self.acks.asked.notify_one();
        match outcome.await {
            Ok(outcome) => self.told(outcome),
            Err(_) => Err(self.stale()),
        }
    }

    async fn reject(&self, requeue: bool) -> Result<(), AckError> {
        if self.is_stale() {
            return Err(self.stale());
        }
        let rejected = self.acks.channel.basic_reject(self.tag, BasicRejectOptions { requeue });
        // One that is under way when the connection breaks may wait for ever, because lapin does not answer all of them.
        let Some(outcome) = self.acks.ended.run_until_cancelled(rejected).await else {
            return Err(self.stale());
        };
        if outcome.is_ok() {
            // Not before it is written: it would be acknowledged with what stands behind it.
            self.acks.lock().open.remove(&self.tag);
        }
        self.told(outcome)
    }

    fn is_stale(&self) -> bool {
        self.acks.ended.is_cancelled() || !self.acks.channel.status().connected()
    }
}

impl fmt::Debug for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acks").field("generation", &self.generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tags: impl IntoIterator<Item = u64>) -> Inner {
        let mut inner = Inner::default();
        tags.into_iter().for_each(|tag| inner.deliver(tag));
        inner
    }

    fn ask(inner: &mut Inner, tags: impl IntoIterator<Item = u64>) {
        tags.into_iter().for_each(|tag| inner.ask(tag, oneshot::channel().0));
    }

    /// Head and others of the next step.
    fn step(inner: &mut Inner) -> Option<(Vec<u64>, Vec<u64>)> {
        let tags = |of: Vec<(u64, Told)>| of.into_iter().map(|(tag, _)| tag).collect();
        inner.step().map(|step| (tags(step.head), tags(step.alone)))
    }

    #[test]
    fn all_of_the_head_goes_in_one_step_in_whatever_order_it_was_asked_for() {
        let mut inner = delivered(1..=5);
        ask(&mut inner, [3, 1, 4, 2]);
        assert_eq!(step(&mut inner), Some((vec![1, 2, 3, 4], vec![])));
        assert!(inner.open.contains_key(&5));
    }

    #[test]
    fn what_is_done_behind_something_that_is_not_waits_one_step_and_goes_alone() {
        let mut inner = delivered(1..=4);
        ask(&mut inner, [1, 3, 4]);
        assert_eq!(step(&mut inner), Some((vec![1], vec![])));
        assert_eq!(step(&mut inner), Some((vec![], vec![3, 4])));
        assert_eq!(step(&mut inner), None);
        ask(&mut inner, [2]);
        assert_eq!(step(&mut inner), Some((vec![2], vec![])));
        assert!(inner.open.is_empty());
    }

    #[test]
    fn what_waited_goes_with_the_head_once_it_is_part_of_it() {
        let mut inner = delivered(1..=3);
        ask(&mut inner, [2, 3]);
        assert_eq!(step(&mut inner), Some((vec![], vec![])));
        ask(&mut inner, [1]);
        assert_eq!(step(&mut inner), Some((vec![1, 2, 3], vec![])));
        assert_eq!(step(&mut inner), Some((vec![], vec![])));
        assert_eq!(step(&mut inner), None);
    }

    #[test]
    fn after_a_tag_that_nobody_saw_everything_goes_alone() {
        let mut inner = delivered([1, 2, 4]);
        ask(&mut inner, [1, 2, 4]);
        assert_eq!(step(&mut inner), Some((vec![], vec![])));
        assert_eq!(step(&mut inner), Some((vec![], vec![1, 2, 4])));
    }
}
