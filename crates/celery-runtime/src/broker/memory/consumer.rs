//! A consumer of the in-process broker and the settling of its deliveries.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    Inner,
    connection::fault,
    fault::{Duplicates, Op, OpKind, Phase},
    state::{Stored, task_name},
};
use crate::broker::{AckError, Consumer, Delivery, Settle};

pub(super) struct MemoryConsumer {
    pub inner: Arc<Inner>,
    pub id: u64,
    pub no_ack: bool,
    /// Something became ready in the queue.
    pub ready: Arc<Notify>,
    /// A delivery was settled, or the consumer is to end.
    pub room: Arc<Notify>,
}

enum Next {
    Delivery(Box<Delivery>),
    Wait,
    End,
}

impl MemoryConsumer {
    fn try_next(&self) -> Next {
        let mut state = self.inner.lock();
        match state.consumers.get(&self.id) {
            None => return Next::End,
            Some(consumer) if consumer.cancelled => return Next::End,
            Some(_) => {}
        }
        if state.stopped {
            return Next::Wait;
        }
        let Some((sequence, stored, generation)) = state.take(self.id, self.no_ack) else {
            return Next::Wait;
        };
        drop(state);
        let settle = (!self.no_ack).then(|| {
            Box::new(MemorySettle { inner: self.inner.clone(), consumer: self.id, sequence, generation })
                as Box<dyn Settle>
        });
        let Stored { message, exchange, routing_key, redelivered, .. } = stored;
        let message = Arc::unwrap_or_clone(message);
        Next::Delivery(Box::new(Delivery::new(message, exchange, routing_key, redelivered, generation, settle)))
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            // Registered before looking, so that nothing that happens in between is missed.
            let (ready, room) = (self.ready.clone(), self.room.clone());
            let (ready, room) = (ready.notified(), room.notified());
            tokio::pin!(ready, room);
            ready.as_mut().enable();
            room.as_mut().enable();
            match self.try_next() {
                Next::Delivery(delivery) => return Some(*delivery),
                Next::End => return None,
                Next::Wait => tokio::select! { () = ready => {}, () = room => {} },
            }
        }
    }

    async fn cancel(&mut self) {
        let mut state = self.inner.lock();
        if let Some(consumer) = state.consumers.get_mut(&self.id) {
            consumer.cancelled = true;
            consumer.wake.notify_waiters();
            let queue = consumer.queue.clone();
            if let Some(queue) = state.queues.get(&queue) {
                queue.wake.notify_waiters();
            }
        }
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.inner.lock().remove_consumer(self.id);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer").field("id", &self.id).finish_non_exhaustive()
    }
}

struct MemorySettle {
    inner: Arc<Inner>,
    consumer: u64,
    sequence: u64,
    generation: u64,
}

impl MemorySettle {
    fn settle(&self, kind: OpKind, requeue: bool) -> Result<(), AckError> {
        let stale = AckError::Stale { generation: self.generation };
        let mut state = self.inner.lock();
        let Some(consumer) = state.consumers.get(&self.consumer) else {
            return Err(stale);
        };
        if consumer.generation != self.generation {
            return Err(stale);
        }
        let Some(stored) = consumer.unacked.get(&self.sequence) else {
            return Err(stale);
        };
        if state.stopped {
            return Err(AckError::Unavailable { reason: "the broker was stopped".to_owned() });
        }
        let op = Op {
            kind,
            phase: Phase::Before,
            exchange: stored.exchange.clone(),
            routing_key: stored.routing_key.clone(),
            task: task_name(&stored.message),
        };
        fault(&self.inner, &mut state, op.clone()).map_err(|reason| AckError::Unavailable { reason })?;
        let Some(consumer) = state.consumers.get_mut(&self.consumer) else {
            return Err(stale);
        };
        let queue = consumer.queue.clone();
        let stored = consumer.unacked.remove(&self.sequence);
        consumer.wake.notify_waiters();
        if let Some(stored) = stored {
            if requeue {
                state.requeue(&queue, [(self.sequence, stored)]);
            } else if kind == OpKind::Ack
                && state.duplicates == Duplicates::AfterAck
                && !stored.copy
                && op.task.is_some()
            {
                state.push(&queue, Stored { copy: true, redelivered: true, ..stored });
            }
        }
        fault(&self.inner, &mut state, Op { phase: Phase::After, ..op })
            .map_err(|reason| AckError::Unavailable { reason })
    }
}

#[async_trait]
impl Settle for MemorySettle {
    async fn ack(&self) -> Result<(), AckError> {
        self.settle(OpKind::Ack, false)
    }

    async fn reject(&self, requeue: bool) -> Result<(), AckError> {
        self.settle(OpKind::Reject, requeue)
    }

    fn is_stale(&self) -> bool {
        self.inner.lock().consumers.get(&self.consumer).is_none_or(|consumer| consumer.generation != self.generation)
    }
}
