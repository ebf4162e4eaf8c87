//! A consumer of the in-process broker and the settling of its deliveries.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    core::{InjectedFault, MemoryBrokerCore},
    fault::{Duplicates, Op, OpKind, Phase},
    state::{QueuedMessage, task_name},
};
use crate::broker::{
    delivery::{Delivery, Settle},
    error::AckError,
    traits::Consumer,
};

pub(super) struct MemoryConsumer {
    pub core: Arc<MemoryBrokerCore>,
    pub id: u64,
    pub no_ack: bool,
    /// A message became ready in the queue.
    pub ready: Arc<Notify>,
    /// A delivery was settled, or the consumer is to end.
    pub room: Arc<Notify>,
}

/// The next step of a consumer.
enum NextDelivery {
    Delivery(Box<Delivery>),
    Wait,
    End,
}

impl MemoryConsumer {
    fn try_next(&self) -> NextDelivery {
        let mut state = self.core.lock();
        match state.consumers.get(&self.id) {
            None => return NextDelivery::End,
            Some(consumer) if consumer.cancelled => return NextDelivery::End,
            Some(_) => {}
        }
        if state.stopped {
            return NextDelivery::Wait;
        }
        let Some((sequence, stored, generation)) = state.take(self.id, self.no_ack) else {
            return NextDelivery::Wait;
        };
        drop(state);
        let settle = (!self.no_ack).then(|| {
            Box::new(MemorySettle { core: self.core.clone(), consumer: self.id, sequence, generation })
                as Box<dyn Settle>
        });
        let QueuedMessage { message, exchange, routing_key, redelivered, .. } = stored;
        let message = Arc::unwrap_or_clone(message);
        NextDelivery::Delivery(Box::new(Delivery::new(message, exchange, routing_key, redelivered, generation, settle)))
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            // Registered before the check, so that a signal in between is not missed.
            let (ready, room) = (self.ready.clone(), self.room.clone());
            let (ready, room) = (ready.notified(), room.notified());
            tokio::pin!(ready, room);
            ready.as_mut().enable();
            room.as_mut().enable();
            match self.try_next() {
                NextDelivery::Delivery(delivery) => return Some(*delivery),
                NextDelivery::End => return None,
                NextDelivery::Wait => tokio::select! { () = ready => {}, () = room => {} },
            }
        }
    }

    async fn cancel(&mut self) {
        let mut state = self.core.lock();
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
        self.core.lock().remove_consumer(self.id);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Settles one delivery.
struct MemorySettle {
    core: Arc<MemoryBrokerCore>,
    consumer: u64,
    sequence: u64,
    generation: u64,
}

impl MemorySettle {
    fn settle(&self, kind: OpKind, requeue: bool) -> Result<(), AckError> {
        let stale = AckError::Stale { generation: self.generation };
        let mut state = self.core.lock();
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
            return Err(AckError::Unavailable { reason: InjectedFault::BrokerStopped.to_string() });
        }
        let op = Op {
            kind,
            phase: Phase::Before,
            exchange: stored.exchange.clone(),
            routing_key: stored.routing_key.clone(),
            task: task_name(&stored.message),
        };
        self.core.call_fault_hook(&mut state, op.clone()).map_err(unavailable)?;
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
                state.push(&queue, QueuedMessage { copy: true, redelivered: true, ..stored });
            }
        }
        self.core.call_fault_hook(&mut state, Op { phase: Phase::After, ..op }).map_err(unavailable)
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
        self.core.lock().consumers.get(&self.consumer).is_none_or(|consumer| consumer.generation != self.generation)
    }
}

fn unavailable(fault: InjectedFault) -> AckError {
    AckError::Unavailable { reason: fault.to_string() }
}
