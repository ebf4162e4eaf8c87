//! One connection to the in-process broker.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    consumer::MemoryConsumer,
    core::{InjectedFault, MemoryBrokerCore},
    fault::{Op, OpKind, Phase},
    state::{ConnectionEntry, ConsumerState, MemoryQueues, QueuedMessage, expiry, task_name},
};
use crate::{
    broker::{
        error::{BrokerError, PublishError},
        lock::Lock,
        publish::{Guarantee, Publish},
        queue::TaskQueue,
        subscription::{Broadcast, Subscription},
        traits::{Broker, Consumer},
    },
    connection::ConnectionState,
};

/// A connection made by [`MemoryBroker::connect`](super::MemoryBroker::connect).
pub struct MemoryConnection {
    core: Arc<MemoryBrokerCore>,
    id: u64,
    state: watch::Sender<ConnectionState>,
}

impl MemoryConnection {
    pub(super) fn new(core: Arc<MemoryBrokerCore>) -> Self {
        let mut state = core.lock();
        let id = state.id();
        let generation = state.generation;
        let watch = watch::Sender::new(ConnectionState::connected());
        state.connections.insert(id, ConnectionEntry { generation, state: watch.clone() });
        drop(state);
        Self { core, id, state: watch }
    }

    /// The generation of this connection, if it is alive.
    fn check(&self, state: &MemoryQueues) -> Result<u64, BrokerError> {
        let connection = state.connections.get(&self.id).ok_or(BrokerError::Closed)?;
        if state.stopped {
            return Err(BrokerError::Unavailable { reason: InjectedFault::BrokerStopped.to_string() });
        }
        Ok(connection.generation)
    }

    fn start_consumer(
        &self,
        queue: &str,
        prefetch: Option<u16>,
        declare: impl FnOnce(&mut MemoryQueues),
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        let mut state = self.core.lock();
        let generation = self.check(&state)?;
        declare(&mut state);
        let id = state.id();
        let wake = Arc::new(tokio::sync::Notify::new());
        state.consumers.insert(
            id,
            ConsumerState {
                queue: queue.to_owned(),
                connection: self.id,
                generation,
                prefetch: prefetch.filter(|limit| *limit > 0).map(usize::from),
                unacked: Default::default(),
                cancelled: false,
                wake: wake.clone(),
            },
        );
        let entry = state.queues.entry(queue.to_owned()).or_default();
        entry.consumers.insert(id);
        let ready = entry.wake.clone();
        drop(state);
        Ok(Box::new(MemoryConsumer { core: self.core.clone(), id, no_ack: prefetch.is_none(), ready, room: wake }))
    }
}

fn declare_task_queue(state: &mut MemoryQueues, queue: &TaskQueue) {
    state.queues.entry(queue.name.clone()).or_default();
    state.bind(&queue.name, &queue.name, &queue.name);
    for exchange in &queue.exchanges {
        state.declare_exchange(exchange);
        state.bind(exchange, &queue.name, &queue.name);
    }
}

fn declare_reply_queue(state: &mut MemoryQueues, name: &str) {
    state.queues.entry(name.to_owned()).or_default().auto_delete = true;
}

#[async_trait]
impl Broker for MemoryConnection {
    async fn declare_task_queue(&self, queue: &TaskQueue) -> Result<(), BrokerError> {
        let mut state = self.core.lock();
        self.check(&state)?;
        declare_task_queue(&mut state, queue);
        Ok(())
    }

    async fn declare_reply_queue(&self, name: &str) -> Result<(), BrokerError> {
        let mut state = self.core.lock();
        self.check(&state)?;
        declare_reply_queue(&mut state, name);
        Ok(())
    }

    async fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        let forgotten = publish.guarantee == Guarantee::FireAndForget;
        let outcome = self.publish_now(publish);
        match outcome {
            // A publisher that does not wait for an answer does not learn of these either.
            Err(PublishError::Unroutable { .. } | PublishError::Nacked { .. }) if forgotten => Ok(()),
            other => other,
        }
    }

    async fn consume(&self, queue: &TaskQueue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(&queue.name, Some(prefetch), |state| declare_task_queue(state, queue))
    }

    async fn consume_replies(&self, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.start_consumer(name, None, |state| declare_reply_queue(state, name))
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        let mailbox = subscription.mailbox();
        self.start_consumer(&mailbox.queue.name, None, |state| state.declare_mailbox(&mailbox))
    }

    async fn declare_broadcast(&self, broadcast: Broadcast) -> Result<(), BrokerError> {
        let mut state = self.core.lock();
        self.check(&state)?;
        state.declare_broadcast(&broadcast.declaration());
        Ok(())
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        let mut state = self.core.lock();
        self.check(&state)?;
        if state.locks.contains_key(name) {
            return Ok(None);
        }
        let lost = CancellationToken::new();
        state.locks.insert(name.to_owned(), lost.clone());
        Ok(Some(Lock::new(lost.clone(), MemoryLockGuard { core: self.core.clone(), name: name.to_owned(), lost })))
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    async fn close(&self) {
        let mut state = self.core.lock();
        state.connections.remove(&self.id);
        let mut mine: Vec<u64> =
            state.consumers.iter().filter(|(_, consumer)| consumer.connection == self.id).map(|(id, _)| *id).collect();
        mine.sort_unstable();
        for consumer in mine {
            state.remove_consumer(consumer);
        }
        drop(state);
        self.state.send_modify(|state| state.down(None));
    }
}

impl MemoryConnection {
    fn publish_now(&self, publish: Publish) -> Result<(), PublishError> {
        let op = Op {
            kind: OpKind::Publish,
            phase: Phase::Before,
            exchange: publish.exchange.clone(),
            routing_key: publish.routing_key.clone(),
            task: task_name(&publish.message),
        };
        let expires = expiry(&publish.message).map_err(|reason| PublishError::Refused { reason: reason.to_owned() })?;
        let mut state = self.core.lock();
        self.check(&state).map_err(|error| match error {
            BrokerError::Closed => PublishError::Closed,
            other => PublishError::Unavailable { reason: other.to_string() },
        })?;
        let hooked = !state.is_broadcast(&publish.exchange);
        if hooked {
            let called = self.core.call_fault_hook(&mut state, op.clone());
            called.map_err(|fault| PublishError::Unavailable { reason: fault.to_string() })?;
        }
        if !publish.exchange.is_empty() && !state.bindings.contains_key(&publish.exchange) {
            return Err(PublishError::Unroutable { exchange: publish.exchange, routing_key: publish.routing_key });
        }
        let queues = state.route(&publish.exchange, &publish.routing_key);
        let mandatory = publish.guarantee == Guarantee::Confirmed { mandatory: true };
        if queues.is_empty() && mandatory {
            return Err(PublishError::Unroutable { exchange: publish.exchange, routing_key: publish.routing_key });
        }
        let message = QueuedMessage {
            message: Arc::new(publish.message),
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            redelivered: false,
            expires,
            copy: false,
        };
        for queue in queues {
            state.push(&queue, message.clone());
        }
        match hooked {
            true => {
                let called = self.core.call_fault_hook(&mut state, Op { phase: Phase::After, ..op });
                called.map_err(|_| PublishError::Timeout)
            }
            false => Ok(()),
        }
    }
}

/// Releases a lock when dropped.
struct MemoryLockGuard {
    core: Arc<MemoryBrokerCore>,
    name: String,
    lost: CancellationToken,
}

impl Drop for MemoryLockGuard {
    fn drop(&mut self) {
        // After a crash another process may hold it.
        if !self.lost.is_cancelled() {
            self.core.lock().locks.remove(&self.name);
        }
    }
}

impl fmt::Debug for MemoryConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConnection").field("id", &self.id).finish_non_exhaustive()
    }
}
